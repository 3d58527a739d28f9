"""Makes small GGUF v3 files, and what their quantised blocks must dequantise to. Needs numpy, ml_dtypes, safetensors, gguf.

    make_gguf_golden.py quantised --out GGUF --weights DIR    random llamas in each quantised type; the same weights, dequantised,
                                                              as Hugging Face folders below DIR for make_model_golden.py --weights
    make_gguf_golden.py convert --made DIR --out GGUF         GGUF files of what make_model_golden.py --out DIR made
    make_gguf_golden.py dequant --out DEQUANT                 blocks and their values, one file a type

Each GGUF/<name>/ gets model.gguf and golden.safetensors. Tensor names, metadata keys and changes to weights are those of
llama.cpp's convert_hf_to_gguf.py:
  - arch "llama" rotates neighbouring pairs, so rows of Q and K (and their biases) are reordered in each head; the others rotate halves;
  - Gemma's norm weights are stored with 1 added; Phi-3 keeps attn_qkv, and ffn_up with the gate's rows first;
  - experts are stacked to one tensor [expert, rows, columns]; norms, biases and routers are F32;
  - Llama 3 frequency scaling is the tensor rope_freqs.weight, a divisor for each pair; linear and yarn are metadata;
  - Gemma 2 has neither rope.freq_base nor rope.dimension_count, Qwen no rope.dimension_count: defaults apply.
"""
import argparse
import json
import math
import pathlib
import re
import shutil

import gguf
import ml_dtypes  # noqa: F401, teaches numpy bfloat16
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import load_file, save_file

ROUND = ('Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0')
K = ('Q4_K', 'Q5_K', 'Q6_K')

# name -> (folder below --made, type of the matrices, tokenizer)
CONVERTED = {
    'llama-f16': ('models/llama-f16', T.F16, 'llama-bpe'),
    'llama-f32': ('models/llama-f32', T.F32, None),
    'llama-linear': ('models/llama-linear', T.BF16, None),
    'llama-yarn': ('models/llama-yarn', T.BF16, None),
    'phi3-partial': ('models/phi3-partial', T.BF16, None),
    'gemma2': ('models/gemma2-varied', T.BF16, None),
    'llama-rope-scaled': ('gguf-source/llama-rope-scaled', T.BF16, None),
    'qwen2': ('gguf-source/qwen2', T.BF16, 'qwen2'),
    'qwen3': ('gguf-source/qwen3', T.F16, None),
    'mixtral': ('gguf-source/mixtral', T.BF16, None),
    'qwen3-moe': ('gguf-source/qwen3-moe', T.BF16, None),
}

ARCH = {'llama': 'llama', 'mistral': 'llama', 'mixtral': 'llama', 'qwen2': 'qwen2', 'qwen3': 'qwen3', 'qwen3_moe': 'qwen3moe',
        'gemma2': 'gemma2', 'phi3': 'phi3'}

LAYER_NAMES = {
    'input_layernorm': 'attn_norm', 'self_attn.q_proj': 'attn_q', 'self_attn.k_proj': 'attn_k', 'self_attn.v_proj': 'attn_v',
    'self_attn.o_proj': 'attn_output', 'self_attn.qkv_proj': 'attn_qkv', 'self_attn.q_norm': 'attn_q_norm',
    'self_attn.k_norm': 'attn_k_norm', 'post_attention_layernorm': 'ffn_norm', 'mlp.gate_proj': 'ffn_gate',
    'mlp.up_proj': 'ffn_up', 'mlp.down_proj': 'ffn_down', 'mlp.gate_up_proj': 'ffn_up', 'mlp.gate': 'ffn_gate_inp',
    'block_sparse_moe.gate': 'ffn_gate_inp',
}
GEMMA2_NAMES = dict(LAYER_NAMES, post_attention_layernorm='post_attention_norm', pre_feedforward_layernorm='ffn_norm',
                    post_feedforward_layernorm='post_ffw_norm')
EXPERT = re.compile(r'model\.layers\.(\d+)\.(?:block_sparse_moe|mlp)\.experts\.(\d+)\.(\w+)\.weight')
EXPERT_NAMES = {'w1': 'ffn_gate_exps', 'w2': 'ffn_down_exps', 'w3': 'ffn_up_exps', 'gate_proj': 'ffn_gate_exps',
                'down_proj': 'ffn_down_exps', 'up_proj': 'ffn_up_exps'}


def head_dim(config):
    return config.get('head_dim') or config['hidden_size'] // config['num_attention_heads']


def to_pairs(weight, heads):
    """Rows of each head from halves (0 1 2 .. | n n+1 ..) to neighbours (0 n 1 n+1 ..)."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def to_halves(weight, heads):
    return weight.reshape(heads, -1, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def rope_freqs(config):
    """Llama 3's divisor of each rotation frequency: 1 for short waves, `factor` for long ones, a blend between."""
    rope = config['rope_parameters']
    old_length, low, high = (rope[k] for k in ('original_max_position_embeddings', 'low_freq_factor', 'high_freq_factor'))
    divisors = []
    for i in range(head_dim(config) // 2):
        wavelength = 2 * math.pi * rope['rope_theta'] ** (2 * i / head_dim(config))
        blend = min(1.0, max(0.0, (old_length / wavelength - low) / (high - low)))
        divisors.append(1 / ((1 - blend) / rope['factor'] + blend))
    return np.array(divisors, dtype=np.float32)


def gguf_tensors(config, weights):
    """Hugging Face tensors -> [(GGUF name, f32 array)]."""
    kind, names, experts = config['model_type'], LAYER_NAMES, {}
    pairs = ARCH[kind] == 'llama'
    if kind == 'gemma2':
        names = GEMMA2_NAMES
    if pairs and config['rope_parameters']['rope_type'] == 'llama3':
        yield 'rope_freqs.weight', rope_freqs(config)
    for name, value in weights.items():
        value = np.asarray(value, dtype=np.float32)
        if kind == 'gemma2' and name.endswith('norm.weight'):
            value = value + 1
        if expert := EXPERT.fullmatch(name):
            layer, index, part = expert.groups()
            experts.setdefault(f'blk.{layer}.{EXPERT_NAMES[part]}.weight', {})[int(index)] = value
        elif inner := re.fullmatch(r'model\.layers\.(\d+)\.(.*)\.(weight|bias)', name):
            layer, part, suffix = inner.groups()
            if pairs and part == 'self_attn.q_proj':
                value = to_pairs(value, config['num_attention_heads'])
            if pairs and part == 'self_attn.k_proj':
                value = to_pairs(value, config['num_key_value_heads'])
            yield f'blk.{layer}.{names[part]}.{suffix}', value
        else:
            yield {'model.embed_tokens.weight': 'token_embd.weight', 'model.norm.weight': 'output_norm.weight',
                   'lm_head.weight': 'output.weight'}[name], value
    for name, parts in experts.items():
        yield name, np.stack([parts[i] for i in range(len(parts))])


def add_metadata(w, config, name):
    kind, rope = config['model_type'], config['rope_parameters']
    w.add_name(name)
    w.add_context_length(config['max_position_embeddings'])
    w.add_embedding_length(config['hidden_size'])
    w.add_block_count(config['num_hidden_layers'])
    w.add_feed_forward_length(config['intermediate_size'])
    w.add_head_count(config['num_attention_heads'])
    w.add_head_count_kv(config['num_key_value_heads'])
    w.add_layer_norm_rms_eps(config['rms_norm_eps'])
    w.add_vocab_size(config['vocab_size'])
    if config.get('head_dim'):
        w.add_key_length(config['head_dim'])
        w.add_value_length(config['head_dim'])
    if kind != 'gemma2':
        w.add_rope_freq_base(rope['rope_theta'])
    if ARCH[kind] in ('llama', 'phi3'):
        w.add_rope_dimension_count(int(head_dim(config) * rope.get('partial_rotary_factor', 1.0)))
    if rope['rope_type'] == 'linear':
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope['factor'])
    if rope['rope_type'] == 'yarn':
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope['factor'])
        w.add_rope_scaling_orig_ctx_len(rope['original_max_position_embeddings'])
    if kind == 'gemma2':
        w.add_attn_logit_softcapping(config['attn_logit_softcapping'])
        w.add_final_logit_softcapping(config['final_logit_softcapping'])
        w.add_sliding_window(config['sliding_window'])
    if kind == 'phi3':
        w.add_rope_scaling_orig_ctx_len(config['original_max_position_embeddings'])
        w.add_sliding_window(config.get('sliding_window') or 0)
    if kind in ('mixtral', 'qwen3_moe'):
        w.add_expert_count(config['num_local_experts'])
        w.add_expert_used_count(config['num_experts_per_tok'])
    if kind == 'qwen3_moe':
        w.add_expert_feed_forward_length(config['moe_intermediate_size'])


def byte_characters():
    """GPT-2's printable stand-in for each byte."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    return {**{b: chr(b) for b in shown}, **{b: chr(256 + i) for i, b in enumerate(hidden)}}


MERGED = ('Ġt he in re on er Ġa at Ġo en Ġs Ġc or es is it an ar Ġw ou ed Ġthe ing al ic Ġb Ġf Ġm Ġp Ġd Ġh om ll as le ĠĠ').split()


def byte_level_vocabulary(size):
    """Four special tokens, 256 bytes, then merges made from common pieces as long as there is room."""
    tokens = ['<unk>', '<s>', '</s>', '<|end|>'] + [byte_characters()[b] for b in range(256)]
    merges = []
    for piece in MERGED:
        for cut in range(len(piece) - 1, 0, -1):
            if piece[:cut] in tokens and piece[cut:] in tokens:
                tokens.append(piece)
                merges.append(f'{piece[:cut]} {piece[cut:]}')
                break
    types = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 4)
    while len(tokens) < size:
        tokens.append(f'[PAD{len(tokens)}]')
        types.append(gguf.TokenType.UNUSED)
    return tokens, types, merges


def add_byte_level_tokenizer(w, size, split):
    tokens, types, merges = byte_level_vocabulary(size)
    w.add_tokenizer_model('gpt2')
    w.add_tokenizer_pre(split)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_eot_token_id(3)
    w.add_unk_token_id(0)
    w.add_add_bos_token(split == 'llama-bpe')
    w.add_chat_template("{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}<|end|>{% endfor %}"
                        "{% if add_generation_prompt %}<s>assistant: {% endif %}")


def add_sentencepiece_tokenizer(w, size):
    """Three special tokens, 256 byte tokens, then pieces by falling score, as SentencePiece models convert."""
    kinds = gguf.TokenType
    tokens = ['<unk>', '<s>', '</s>'] + [f'<0x{b:02X}>' for b in range(256)]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256
    scores = [0.0] * len(tokens)
    pieces = ['▁t', 'he', '▁the', 'in', 'er', '▁a', 'an', 'on', 're', 'ing'] + list('▁etaoinshrdlucmfwypvbgkjqxzHW,.!?0123456789')
    for i, piece in enumerate(pieces[:size - len(tokens)]):
        tokens.append(piece)
        types.append(kinds.NORMAL)
        scores.append(-float(i))
    while len(tokens) < size:
        tokens.append(f'[PAD{len(tokens)}]')
        types.append(kinds.UNUSED)
        scores.append(-1000.0)
    w.add_tokenizer_model('llama')
    w.add_tokenizer_pre('default')
    w.add_token_list(tokens)
    w.add_token_scores(scores)
    w.add_token_types(types)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)
    w.add_add_space_prefix(True)


def write_gguf(path, config, tensors, name, file_type, tokenizer=None):
    """`tensors`: [(name, array, type)]; an array of bytes is taken as blocks of that type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    w = gguf.GGUFWriter(path, ARCH[config['model_type']])
    add_metadata(w, config, name)
    w.add_file_type(file_type)
    if tokenizer == 'sentencepiece':
        add_sentencepiece_tokenizer(w, config['vocab_size'])
    elif tokenizer:
        add_byte_level_tokenizer(w, config['vocab_size'], tokenizer)
    if any(kind.name in ROUND + K for _, _, kind in tensors):
        w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for tensor_name, array, kind in tensors:
        w.add_tensor(tensor_name, array, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def convert(made, out):
    for name, (source, kind, tokenizer) in CONVERTED.items():
        folder = pathlib.Path(made, source)
        config = json.loads((folder / 'config.json').read_text())
        weights = load_file(folder / 'model.safetensors')
        tensors = []
        for tensor_name, value in gguf_tensors(config, weights):
            plain = value.ndim == 1 or 'ffn_gate_inp' in tensor_name
            tensors.append((tensor_name, value if plain else gguf.quants.quantize(value, kind), T.F32 if plain else kind))
        file_type = {T.F32: gguf.LlamaFileType.ALL_F32, T.F16: gguf.LlamaFileType.MOSTLY_F16,
                     T.BF16: gguf.LlamaFileType.MOSTLY_BF16}[kind]
        write_gguf(pathlib.Path(out, name, 'model.gguf'), config, tensors, name, file_type, tokenizer)
        shutil.copyfile(folder / 'golden.safetensors', pathlib.Path(out, name, 'golden.safetensors'))


# Byte layout of the K blocks, from ggml-common.h: offsets of the fp16 scales; all other bytes are plain bits.
BLOCK = {name: gguf.GGML_QUANT_SIZES[T[name]] for name in ROUND + K}
F16_AT = {'Q4_0': [0], 'Q4_1': [0, 2], 'Q5_0': [0], 'Q5_1': [0, 2], 'Q8_0': [0], 'Q4_K': [0, 2], 'Q5_K': [0, 2], 'Q6_K': [208]}
# For uniform random bits in a K block: spread of its values at d = 1, and the dmin / d that makes their mean zero.
K_SPREAD = {'Q4_K': (258.0, 7.5), 'Q5_K': (527.0, 15.5), 'Q6_K': (1366.0, None)}


def random_k_blocks(rng, name, shape, spread):
    """Random bits with scales such that values have mean 0 and about the given spread: gguf-py cannot quantise these types."""
    values, size = BLOCK[name]
    blocks = rng.integers(0, 256, (math.prod(shape) // values, size), dtype=np.uint8)
    unit, minimum = K_SPREAD[name]
    d = (spread / unit * rng.uniform(0.7, 1.3, len(blocks))).astype(np.float16)
    for at, scale in zip(F16_AT[name], [d] + ([d * np.float16(minimum)] if minimum else [])):
        blocks[:, at:at + 2] = scale.astype(np.float16)[:, None].view(np.uint8)
    return blocks.reshape(*shape[:-1], -1)


def quantised_config(name):
    k = name in K
    hidden, heads, kv_heads = (256, 8, 2) if k else (96, 6, 3)
    return dict(architectures=['LlamaForCausalLM'], model_type='llama', vocab_size=320, hidden_size=hidden, head_dim=32,
                intermediate_size=512 if k else 224, num_hidden_layers=1 if k else 2, num_attention_heads=heads,
                num_key_value_heads=kv_heads, max_position_embeddings=512, rms_norm_eps=1e-5, hidden_act='silu',
                tie_word_embeddings=name in ('Q4_1', 'Q5_K'), attention_bias=False, mlp_bias=False, bos_token_id=1,
                eos_token_id=2, pad_token_id=0, dtype='float32', rope_parameters=dict(rope_type='default', rope_theta=10000.0))


def quantised_shapes(c):
    hidden, q, kv, ff = c['hidden_size'], c['num_attention_heads'] * 32, c['num_key_value_heads'] * 32, c['intermediate_size']
    yield 'model.embed_tokens.weight', (c['vocab_size'], hidden)
    yield 'model.norm.weight', (hidden,)
    if not c['tie_word_embeddings']:
        yield 'lm_head.weight', (c['vocab_size'], hidden)
    for i in range(c['num_hidden_layers']):
        for part, shape in {'input_layernorm': (hidden,), 'self_attn.q_proj': (q, hidden), 'self_attn.k_proj': (kv, hidden),
                            'self_attn.v_proj': (kv, hidden), 'self_attn.o_proj': (hidden, q),
                            'post_attention_layernorm': (hidden,), 'mlp.gate_proj': (ff, hidden),
                            'mlp.up_proj': (ff, hidden), 'mlp.down_proj': (hidden, ff)}.items():
            yield f'model.layers.{i}.{part}.weight', shape


def quantised(out, weights_out):
    for index, name in enumerate(ROUND + K):
        rng = np.random.default_rng(500 + index)
        config, model_name = quantised_config(name), 'llama-' + name.lower()
        tensors, weights = [], {}
        for hf_name, shape in quantised_shapes(config):
            (gguf_name, _), = gguf_tensors(config, {hf_name: np.zeros(shape)})
            if len(shape) == 1:
                value = (1 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
                if hf_name == 'model.norm.weight' and config['tie_word_embeddings']:
                    value *= 8  # against the small embeddings below, for logits of usual size
                tensors.append((gguf_name, value, T.F32))
            else:
                spread = shape[-1] ** -0.5
                if 'embed_tokens' in hf_name and config['tie_word_embeddings']:
                    spread *= 0.1  # or each token becomes its own likeliest successor
                blocks = (random_k_blocks(rng, name, shape, spread) if name in K else
                          gguf.quants.quantize((spread * rng.standard_normal(shape)).astype(np.float32), T[name]))
                tensors.append((gguf_name, blocks, T[name]))
                value = gguf.quants.dequantize(blocks, T[name]).astype(np.float32)
                if 'q_proj' in hf_name:
                    value = to_halves(value, config['num_attention_heads'])
                if 'k_proj' in hf_name:
                    value = to_halves(value, config['num_key_value_heads'])
            weights[hf_name] = np.ascontiguousarray(value)
        file_type = gguf.LlamaFileType[{'Q4_K': 'MOSTLY_Q4_K_M', 'Q5_K': 'MOSTLY_Q5_K_M'}.get(name, 'MOSTLY_' + name)]
        write_gguf(pathlib.Path(out, model_name, 'model.gguf'), config, tensors, model_name, file_type,
                   'sentencepiece' if name == 'Q8_0' else None)
        folder = pathlib.Path(weights_out, model_name)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
        (folder / 'config.json').write_text(json.dumps(config, indent=2))


def dequant(out):
    """64 blocks a type: 40 with usual scales, then each combination of an odd scale with random, all-zero and all-one bits."""
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    odd = np.array([0.0, -0.0, 5.96e-8, 6.0e-5, -1.0, 65504.0, -65504.0, 1.0], dtype=np.float16)
    for index, name in enumerate(ROUND + K):
        rng = np.random.default_rng(600 + index)
        values, size = BLOCK[name]
        blocks = rng.integers(0, 256, (64, size), dtype=np.uint8)
        blocks[48:56] = 0
        blocks[56:64] = 255
        for column, at in enumerate(F16_AT[name]):
            scale = (0.02 * rng.standard_normal(64)).astype(np.float16)
            for first in (40, 48, 56):
                scale[first:first + 8] = np.roll(odd, 3 * column)
            blocks[:, at:at + 2] = scale[:, None].view(np.uint8)
        expected = gguf.quants.dequantize(blocks, T[name]).astype(np.float32)
        assert expected.shape == (64, values) and np.isfinite(expected).all(), name
        save_file({'blocks': blocks, 'values': np.ascontiguousarray(expected)}, pathlib.Path(out, f'{name.lower()}.safetensors'))


def main():
    p = argparse.ArgumentParser()
    p.add_argument('action', choices=['quantised', 'convert', 'dequant'])
    p.add_argument('--out', required=True)
    p.add_argument('--weights')
    p.add_argument('--made')
    a = p.parse_args()
    {'quantised': lambda: quantised(a.out, a.weights), 'convert': lambda: convert(a.made, a.out),
     'dequant': lambda: dequant(a.out)}[a.action]()


if __name__ == '__main__':
    main()
