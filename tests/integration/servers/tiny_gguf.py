"""Writes a language model with random weights as a GGUF file, for llama.cpp: `tiny_gguf.py FILE`.

It is a Llama of 1.4 million parameters that says words of three letters, one token each. It needs the packages gguf and
numpy; `make servers` makes an environment for it.
"""

import sys

import gguf
import numpy

WIDTH, FEED_FORWARD, BLOCKS, HEADS = 160, 320, 4, 4
CONTEXT_TOKENS = 8_192
CONTROL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LETTERS = ["\u2581", *map(chr, range(33, 127))]
WORDS = [f"\u2581{a}{b}{c}" for a in "bdfghklmnprst" for b in "aeiou" for c in "bdgklmnprst"]
TOKENS = [*CONTROL, *BYTES, *LETTERS, *WORDS]
MUTE = 1.0
"""What the model adds to the tokens that it must not say: its first dimension holds the same number at every place."""
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def main(path: str) -> None:
    """Write the model to `path`; it is the same at every call."""
    writer = gguf.GGUFWriter(path, "llama")
    describe(writer)
    vocabulary(writer)
    weights(writer, numpy.random.default_rng(1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_block_count(BLOCKS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def vocabulary(writer: gguf.GGUFWriter) -> None:
    """Write a vocabulary in which every text is possible: of words, letters, and bytes for all others."""
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * len(BYTES) + [gguf.TokenType.NORMAL] * (len(LETTERS) + len(WORDS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([-float(i) for i in range(len(TOKENS))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def weights(writer: gguf.GGUFWriter, random: numpy.random.Generator) -> None:
    def tensor(name: str, *shape: int) -> numpy.ndarray:
        return random.normal(0.0, 0.05, shape).astype(numpy.float32)

    # No block writes to the first dimension, so it is what the embedding puts there: the same for all tokens. The
    # rows of the output turn it into a large negative number for all tokens but words.
    embedding, output = tensor("embedding", len(TOKENS), WIDTH), tensor("output", len(TOKENS), WIDTH)
    embedding[:, 0] = MUTE
    output[: -len(WORDS), 0] = -100.0
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", numpy.ones(WIDTH, numpy.float32))
    writer.add_tensor("output.weight", output)
    for block in range(BLOCKS):
        shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH),
                  "attn_output": (WIDTH, WIDTH), "ffn_gate": (FEED_FORWARD, WIDTH), "ffn_up": (FEED_FORWARD, WIDTH),
                  "ffn_down": (WIDTH, FEED_FORWARD)}  # fmt: skip
        for name, shape in shapes.items():
            values = tensor(name, *shape)
            if name in ("attn_output", "ffn_down"):
                values[0] = 0.0
            writer.add_tensor(f"blk.{block}.{name}.weight", values)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{block}.{name}.weight", numpy.ones(WIDTH, numpy.float32))


if __name__ == "__main__":
    main(sys.argv[1])
