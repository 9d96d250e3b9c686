"""One loop for pre-training, pruning and fine-tuning."""
