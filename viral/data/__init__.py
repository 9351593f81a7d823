"""Ray Data stages: sources to labelled pictures, pictures to pairs, pairs to latents."""
