"""The networks, in pure torch: knows nothing of Ray, MLflow, DeepSpeed or a cluster.

Axis names in signatures: `b` batch, `t` tokens, `d` width, `z` latent channels, `h w` latent grid,
`c y x` image, `e` experts, `k` experts used, `r` rank.
"""
