"""Making a small base model of the same classes as the large one: pictures, edits in words, VAE, tokenizer, DiT.

Needs torch, diffusers and transformers alone, so that it also runs on a bare GPU machine.
"""
