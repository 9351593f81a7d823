"""Ray Data stages: photographs to pairs, pairs to latents."""
