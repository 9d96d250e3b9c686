"""Networks that come from elsewhere or go there: other names of tensors, other formats, other people's benchmarks."""
