"""What is trained: one file per architecture. `models/my_model.py` is the model `my-model`.

A file defines `Params`, a subclass of `sparrow.networks.params.Architecture` (or of
`sparrow.networks.normalise.Normalised`, which normalises images inside the network), `check(params, shape)`, which
raises ValueError if images of that shape (channels, height, width) do not fit, without importing torch, and
`build(params, shape, classes)`, which returns a freshly initialised plain `nn.Module` from images (n, c, h, w) in [0,
1] to logits (n, classes). There is no normalisation outside the network.

`Params` says, besides the architecture's settings:

- `batch_norm`: True, if its networks have batch norm (False by default): they do not train on single images;
- `graftable`: False, if a ReLU of it is no module of its own, torch.nn.ReLU, so that no line can take its place (True by
  default);
- `narrowest`: the layer with the fewest filters, `Narrowest(name of its weights, filters)` (None by default): a pruning
  ratio that would take them all is then refused before any job. It may be a property, where it depends on the settings;
- `inputs(self, shape)`, a method: how many inputs each output of a layer has, by the name of its weights, for images of that
  shape; of the layers of which it is known (none by default). An N:M pattern that does not fit is then refused before any job.
"""
