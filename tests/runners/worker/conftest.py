"""A transformer to place, and whether there is a GPU to place it on."""

import subprocess
import sys
from pathlib import Path

import pytest

MAKE = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
config = LlamaConfig(vocab_size=2000, hidden_size=768, intermediate_size=3072, num_hidden_layers=8,
                     num_attention_heads=12, max_position_embeddings=64, tie_word_embeddings=True)
LlamaForCausalLM(config).save_pretrained(sys.argv[1], max_shard_size="40MB")
"""


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """308 MB of random weights, the same each time; its embedding is tied to its head."""
    folder = tmp_path_factory.mktemp("llama")
    subprocess.run([sys.executable, "-c", MAKE, str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def gpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU on this machine")
