"""What is trained: one file per architecture.

Each file declares `Params`, and defines `check(params, shape)`, which raises ValueError if images of that shape
(channels, height, width) do not fit, without importing torch, and `build(params, shape, classes)`, which returns a plain
`nn.Module` from images in [0, 1] to logits. There is no normalisation outside the network. A file of networks with batch
norm defines `BATCH_NORM = True`: they do not train on single images.
"""
