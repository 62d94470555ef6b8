"""Settings that hold for every test; lies here so that `tiny_models` is importable everywhere."""

import torch
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
torch.set_num_threads(2)
