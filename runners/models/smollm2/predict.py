"""SmolLM2-135M-Instruct, a small language model that streams its answer."""

import os
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from cog import BasePredictor, ConcatenateIterator, Input, streaming
from convert import converted_weights
from text import IncrementalDecoder
from turns import turns


class Predictor(BasePredictor):
    """Answers a prompt or a conversation, token by token."""

    def setup(self) -> None:
        """Convert the weights if need be, load them, and generate one token."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
        folder = converted_weights()
        import torch
        from accelerate import init_empty_weights, load_checkpoint_and_dispatch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        self.torch = torch
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        with init_empty_weights():
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        model.tie_weights()
        self.model: Any = load_checkpoint_and_dispatch(
            model,
            str(folder),
            device_map="auto",
            no_split_module_classes=["LlamaDecoderLayer"],
            dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,  # no faster on a CPU
        ).eval()
        self.device = next(self.model.parameters()).device
        self.context: int = self.model.config.max_position_embeddings
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
        self.ends = set(ends) if isinstance(ends, list) else {ends}
        print(f"placed on {self.device}")
        list(self.tokens([0], 1, 0.0, 1.0, 0))

    @streaming
    def predict(
        self,
        prompt: str = Input(description="What to answer"),
        system_prompt: str = Input(description="Who answers, and how", default="You are a helpful AI assistant."),
        max_tokens: int = Input(description="How much to say at most", ge=1, le=4096, default=256),
        temperature: float = Input(description="0: always the likeliest word", ge=0, le=5, default=0.2),
        top_p: float = Input(description="Choose among the likeliest words, up to this share", ge=0, le=1, default=0.9),
        seed: int | None = Input(description="The same seed gives the same answer", default=None),
        messages: str | None = Input(
            description='Instead of the prompt: a conversation, as in [{"role": "user", "content": "Hello"}]',
            default=None,
        ),
    ) -> ConcatenateIterator[str]:
        """Yield the answer piece by piece."""
        started = perf_counter()
        prompt_tokens = self.encode(turns(system_prompt, prompt, messages))
        if len(prompt_tokens) + max_tokens > self.context:
            raise ValueError(
                f"prompt: {len(prompt_tokens)} tokens and max_tokens {max_tokens} are more than {self.context}"
            )
        self.record_metric("input_token_count", len(prompt_tokens))
        text = IncrementalDecoder(self.decode)
        count = 0
        try:
            for token in self.tokens(prompt_tokens, max_tokens, temperature, top_p, seed):
                count += 1
                if count == 1:
                    self.record_metric("time_to_first_token", round(perf_counter() - started, 6))
                if piece := text.add(token):
                    yield piece
            if piece := text.rest():
                yield piece
        finally:
            self.record_metric("output_token_count", count)
            self.record_metric("tokens_per_second", round(count / (perf_counter() - started), 3))

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Return the tokens of a conversation."""
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    def tokens(
        self, prompt_tokens: list[int], limit: int, temperature: float, top_p: float, seed: int | None
    ) -> Iterator[int]:
        """Yield tokens. Each is computed when it is asked for, so that nothing is computed in vain."""
        torch = self.torch
        generator = torch.Generator(self.device)
        generator.seed() if seed is None else generator.manual_seed(seed)
        step, past = torch.tensor([prompt_tokens], device=self.device), None
        for _ in range(limit):
            with torch.inference_mode():
                out = self.model(input_ids=step, past_key_values=past, use_cache=True, logits_to_keep=1)
                chosen = self.choose(out.logits[0, -1].float(), temperature, top_p, generator)
            past, token = out.past_key_values, int(chosen)
            if token in self.ends:
                return
            yield token
            step = chosen.view(1, 1)

    def choose(self, logits, temperature: float, top_p: float, generator):
        """Choose a token at random among the likeliest."""
        torch = self.torch
        if temperature == 0 or top_p == 0:
            return logits.argmax()
        probabilities, order = torch.softmax(logits / temperature, dim=-1).sort(descending=True)
        probabilities[probabilities.cumsum(-1) - probabilities > top_p] = 0  # the first always stays
        return order[torch.multinomial(probabilities, 1, generator=generator)]
