"""Methods that a table can compare: each a description in the configuration, and what every worker builds from it.

A row of one's own is `protocol.methods.NAME`, in YAML or as `protocol.methods.NAME.kind=...` on the command line:

    kind: analogy      an adapter on Qwen-Image-Edit: {adapter: plain}, {adapter: /weights/viral.safetensors,
                       guidance: 4} for the authors' release, {filter: {judge: cycle}} for the early filter
    kind: base         the frozen base without the example, told `words: nothing`, `instruction`, or `derived` from the
                       pair by a vision-language model
    kind: icedit       FLUX.1 Fill told the case in words: {adapter: ours}, or {adapter: null} without training
    kind: grid         any inpainting pipeline of diffusers: {model: black-forest-labs/FLUX.1-Fill-dev}
    kind: seggpt       SegGPT by transformers
    kind: specialist   a network for one task: {task: depth, annotator: {kind: depth_anything}}
    kind: function     a function of yours: {function: mine.py:paint, takes: query}, `case` or, to inpaint, `grid`
    kind: predictions  pictures made elsewhere: {folder: predictions/}, CASE_ID.png for each
    kind: free         copy_query, copy_example, mean and, as a bound, truth; {vae: true} sends them through the VAE

Each sees pictures at its own size, starts from the case's seed, answers at the query's size, and names its licences;
one that restricts use has to be accepted in `model.accept_licences`.
"""
