"""Checks the GGUF golden files with a second forward pass, written in numpy from the formats' definitions alone.

    check_golden.py GGUF DEQUANT

It reads GGUF files only, so it also tests what make_gguf_golden.py does to weights on the way from Hugging Face's layout.
Exits with 1 if a logit is off by 1e-4 or more, or a greedy token differs.
"""
import math
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file


class Gguf:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.arch = self.fields['general.architecture']
        self.tensors = {t.name: np.array(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float64)
                        .reshape([int(n) for n in reversed(t.shape)]) for t in reader.tensors}

    def get(self, key, default=None):
        return self.fields.get(f'{self.arch}.{key}', default)


def frequencies(m, dims):
    """Rotation of each pair per position, and the factor on cos and sin."""
    base = m.get('rope.freq_base', 10000.0)
    freq = base ** (-np.arange(0, dims, 2) / dims)
    kind, factor = m.get('rope.scaling.type', 'none'), m.get('rope.scaling.factor', 1.0)
    if 'rope_freqs.weight' in m.tensors:
        return freq / m.tensors['rope_freqs.weight'], 1.0
    if kind == 'linear':
        return freq / factor, 1.0
    if kind == 'yarn':  # arXiv 2309.00071, section 3.2 to 3.4, with its defaults of 32 and 1 turns
        length = m.get('rope.scaling.original_context_length')

        def pair_turning(turns):
            return dims * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(base))
        low = max(math.floor(pair_turning(32)), 0)
        high = min(math.ceil(pair_turning(1)), dims - 1)
        stretched = np.clip((np.arange(dims // 2) - low) / max(high - low, 0.001), 0, 1)
        return freq * (1 - stretched) + freq / factor * stretched, 0.1 * math.log(factor) + 1
    return freq, 1.0


def forward(m, ids):
    w, n = m.tensors, len(ids)
    hidden, heads, kv = (m.get(k) for k in ('embedding_length', 'attention.head_count', 'attention.head_count_kv'))
    eps, dim = m.get('attention.layer_norm_rms_epsilon'), m.get('attention.key_length', hidden // heads)
    dims = m.get('rope.dimension_count', dim)
    freq, rope_scale = frequencies(m, dims)
    angle = np.outer(np.arange(n), freq)
    cos, sin = np.cos(angle)[:, None] * rope_scale, np.sin(angle)[:, None] * rope_scale
    gemma = m.arch == 'gemma2'

    def norm(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight

    def linear(x, name):
        y = x @ w[name + '.weight'].T
        return y + w[name + '.bias'] if name + '.bias' in w else y

    def rotate(x):
        out = x.copy()
        first, second = ((slice(0, dims, 2), slice(1, dims, 2)) if m.arch == 'llama' else
                         (slice(0, dims // 2), slice(dims // 2, dims)))
        a, b = x[..., first], x[..., second]
        out[..., first], out[..., second] = a * cos - b * sin, b * cos + a * sin
        return out

    def gated(gate, up):
        if gemma:
            return 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate ** 3))) * up
        return gate / (1 + np.exp(-gate)) * up

    x = w['token_embd.weight'][ids] * (math.sqrt(hidden) if gemma else 1.0)
    for layer in range(m.get('block_count')):
        b = f'blk.{layer}.'
        h = norm(x, w[b + 'attn_norm.weight'])
        if b + 'attn_qkv.weight' in w:
            q, k, v = np.split(linear(h, b + 'attn_qkv'), [heads * dim, (heads + kv) * dim], axis=-1)
        else:
            q, k, v = (linear(h, b + 'attn_' + part) for part in 'qkv')
        q, k, v = q.reshape(n, heads, dim), k.reshape(n, kv, dim), v.reshape(n, kv, dim)
        if b + 'attn_q_norm.weight' in w:
            q, k = norm(q, w[b + 'attn_q_norm.weight']), norm(k, w[b + 'attn_k_norm.weight'])
        q, k = rotate(q), rotate(k)
        k, v = np.repeat(k, heads // kv, axis=1), np.repeat(v, heads // kv, axis=1)
        scores = np.einsum('qhd,khd->hqk', q, k) / math.sqrt(dim)
        if gemma:
            cap = m.get('attn_logit_softcapping')
            scores = np.tanh(scores / cap) * cap
        distance = np.arange(n)[:, None] - np.arange(n)[None]
        seen = distance >= 0
        if gemma and layer % 2 == 0:
            seen &= distance < m.get('attention.sliding_window')
        scores = np.where(seen, scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        h = linear(np.einsum('hqk,khd->qhd', p, v).reshape(n, heads * dim), b + 'attn_output')
        x = x + (norm(h, w[b + 'post_attention_norm.weight']) if gemma else h)
        h = norm(x, w[b + 'ffn_norm.weight'])
        if b + 'ffn_gate_inp.weight' in w:
            router = linear(h, b + 'ffn_gate_inp')
            out = np.zeros_like(x)
            for t in range(n):
                chosen = np.argsort(-router[t])[:m.get('expert_used_count')]
                share = np.exp(router[t, chosen] - router[t, chosen].max())
                for e, s in zip(chosen, share / share.sum()):
                    up, gate, down = (w[f'{b}ffn_{part}_exps.weight'][e] for part in ('up', 'gate', 'down'))
                    out[t] += s * (down @ gated(gate @ h[t], up @ h[t]))
            h = out
        elif b + 'ffn_gate.weight' in w:
            h = linear(gated(linear(h, b + 'ffn_gate'), linear(h, b + 'ffn_up')), b + 'ffn_down')
        else:
            h = linear(gated(*np.split(linear(h, b + 'ffn_up'), 2, axis=-1)), b + 'ffn_down')
        x = x + (norm(h, w[b + 'post_ffw_norm.weight']) if gemma else h)
    logits = norm(x, w['output_norm.weight']) @ w.get('output.weight', w['token_embd.weight']).T
    if gemma:
        cap = m.get('final_logit_softcapping')
        logits = np.tanh(logits / cap) * cap
    return logits


def main():
    good = True
    for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        m, golden = Gguf(folder / 'model.gguf'), load_file(folder / 'golden.safetensors')
        worst = np.abs(forward(m, golden['input_ids'][0]) - golden['logits'][0]).max()
        # One pass gives the successor of every position: the continuation must be a fixed point of it.
        greedy = golden['greedy_ids'][0]
        same = (forward(m, greedy).argmax(-1)[15:-1] == greedy[16:]).all()
        good &= bool(worst < 1e-4 and same)
        print(f'{folder.name:20} worst difference {worst:.1e}, greedy {"same" if same else "DIFFERS"}')
    for path in sorted(pathlib.Path(sys.argv[2]).glob('*.safetensors')):
        t = load_file(path)
        same = (gguf.quants.dequantize(t['blocks'], gguf.GGMLQuantizationType[path.stem.upper()]) == t['values']).all()
        good &= bool(same)
        print(f'{path.stem:20} {len(t["blocks"])} blocks, largest value {np.abs(t["values"]).max():.3g}')
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
