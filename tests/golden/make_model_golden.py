"""Makes small random-weight models and the reference results that forward passes are tested against.

Needs torch and transformers (made with the versions named in README.md), except for --older, which needs neither.

    make_model_golden.py --out DIR                 the models of ADDED below DIR/models, those of FOR_GGUF below DIR/gguf-source
    make_model_golden.py --out DIR --weights DIR2  also references for the folders that make_gguf_golden.py wrote to DIR2
    make_model_golden.py --check MODELS            recomputes every reference below MODELS, with config.json and config.older.json
    make_model_golden.py --older MODELS            writes config.older.json beside every config.json below MODELS

A reference is an eager float32 forward pass on the CPU. golden.safetensors holds
    input_ids   i32 [1, 48]         (two rows in the ten models that are not made here)
    logits      f32 [1, 48, vocab]  of input_ids, every position
    greedy_ids  i32 [1, 48]         the first 16 of input_ids, then 32 tokens, each the argmax after a pass over all before it
Prompts are drawn until the greedy continuation varies and no choice in it is closer than MIN_GAP, so that a correct
implementation with other rounding gives the same tokens.
"""
import argparse
import json
import os
import pathlib
import tempfile

VOCAB = 320  # five times 64 rows, so that vocabulary shards of most world sizes differ
MIN_GAP = 0.02
MIN_DISTINCT = 10
PROMPT, LENGTH = 16, 48

TINY = dict(vocab_size=VOCAB, hidden_size=72, intermediate_size=112, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=3, head_dim=16, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=False,
            bos_token_id=1, eos_token_id=2, pad_token_id=0)
YARN = dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=64)
LLAMA3 = dict(rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)


def spec(model_type, dtype='bfloat16', shard=None, embed_scale=1.0, final_norm_add=0.0, edit=None, **overrides):
    """One model: config values over TINY ("absent" removes one), stored type, largest shard, and how its weights are drawn."""
    config = dict(TINY)
    config.update(overrides)
    for name in [name for name, value in config.items() if value == 'absent']:
        del config[name]
    return dict(model_type=model_type, dtype=dtype, shard=shard, embed_scale=embed_scale, final_norm_add=final_norm_add,
                edit=edit or {}, config=config)


ADDED = {
    'llama-linear': spec('llama', num_hidden_layers=1, rope_scaling=dict(rope_type='linear', factor=4.0), rope_theta=10000.0),
    'llama-yarn': spec('llama', num_hidden_layers=1, head_dim=32, max_position_embeddings=256, rope_scaling=YARN,
                       rope_theta=10000.0),
    'llama-yarn-attention-factor': spec('llama', num_hidden_layers=1, head_dim=32, max_position_embeddings=256,
                                        rope_scaling=dict(YARN, attention_factor=1.4, beta_fast=8.0, beta_slow=2.0),
                                        rope_theta=10000.0),
    'llama-biases': spec('llama', shard='100KB', attention_bias=True, mlp_bias=True),
    'llama-odd': spec('llama', vocab_size=311, hidden_size=75, num_attention_heads=5, num_key_value_heads=5, head_dim=24,
                      intermediate_size=208),
    'llama-f16': spec('llama', dtype='float16', num_hidden_layers=1),
    'llama-f32': spec('llama', dtype='float32', num_hidden_layers=1),
    'qwen3-moe-mixed': spec('qwen3_moe', num_hidden_layers=4, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=32,
                            norm_topk_prob=False, decoder_sparse_step=2, mlp_only_layers=[3]),
    'mistral-full': spec('mistral', hidden_size=96, head_dim='absent', sliding_window=None, edit={'head_dim': None}),
    'phi3-partial': spec('phi3', hidden_size=96, head_dim='absent', partial_rotary_factor=0.5, sliding_window=None),
    'qwen2-window': spec('qwen2', hidden_size=96, head_dim='absent', num_hidden_layers=3, use_sliding_window=True,
                         sliding_window=16, max_window_layers=1),
    # Small embeddings keep the input token from being its own likeliest successor, as tied weights otherwise make it;
    # the caps are low enough to bend most values. GGUF stores no query_pre_attn_scalar, so here it is head_dim.
    'gemma2-varied': spec('gemma2', tie_word_embeddings=True, embed_scale=0.25, final_norm_add=4.0, sliding_window=16,
                          query_pre_attn_scalar=16, attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
}

# Stored as GGUF only, see make_gguf_golden.py.
FOR_GGUF = {
    'llama-rope-scaled': spec('llama', num_hidden_layers=1, head_dim=32, rope_scaling=LLAMA3, rope_theta=500000.0),
    'qwen2': spec('qwen2', hidden_size=96, head_dim='absent'),
    'qwen3': spec('qwen3', head_dim=32),
    'mixtral': spec('mixtral', hidden_size=96, head_dim='absent', intermediate_size=64, num_local_experts=4,
                    num_experts_per_tok=2),
    'qwen3-moe': spec('qwen3_moe', num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True,
                      decoder_sparse_step=1, mlp_only_layers=[]),
}


def older_config(config):
    """The same model as published checkpoints of 2023 to 2025 spell it: before transformers 5 renamed these fields."""
    old = dict(config)
    kind = old['model_type']
    old['torch_dtype'] = old.pop('dtype')
    old['transformers_version'] = '4.44.0'
    old.pop('layer_types', None)
    rope = dict(old.pop('rope_parameters'))
    old['rope_theta'] = rope.pop('rope_theta')
    partial = rope.pop('partial_rotary_factor', None)
    if partial not in (None, 1.0):
        old['partial_rotary_factor'] = partial
    if rope['rope_type'] == 'default':
        old['rope_scaling'] = None
    else:
        # Llama 3.1 was published with "rope_type", the older linear and yarn ones (Llama 2 long, Qwen 2.5) with "type".
        if rope['rope_type'] != 'llama3':
            rope['type'] = rope.pop('rope_type')
        old['rope_scaling'] = rope
    if old.get('head_dim', 0) in (None, old['hidden_size'] // old['num_attention_heads']) and kind != 'gemma2':
        old.pop('head_dim', None)
    for name in ('attention_bias', 'mlp_bias'):
        if old.get(name) is False:
            del old[name]
    if kind == 'gemma2':
        old['cache_implementation'] = 'hybrid'
        old['hidden_act'] = old['hidden_activation']
        old['sliding_window_size'] = old['sliding_window']
        old.pop('use_bidirectional_attention', None)
        if old['tie_word_embeddings']:
            del old['tie_word_embeddings']  # the class's default
    if kind == 'qwen3_moe':
        old['num_experts'] = old.pop('num_local_experts')
        old['max_window_layers'] = old['num_hidden_layers']
    if kind == 'qwen2' and not old['use_sliding_window']:
        old['sliding_window'] = 24  # Qwen 2.5 lists a window and turns it off: it must be ignored
    return dict(sorted(old.items()))


def write_older(folder):
    for path in sorted(pathlib.Path(folder).glob('*/config.json')):
        text = json.dumps(older_config(json.loads(path.read_text())), indent=2)
        path.with_name('config.older.json').write_text(text + '\n')


def draw_weights(model, s, seed):
    """Matrices ~ N(0, 1/columns), biases ~ N(0, 0.3), norm weights spread by 0.1; all rounded to the stored type."""
    import torch
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if p.dim() == 1 and 'norm' in name:
                p.add_(0.1 * noise)
                if name == 'model.norm.weight':
                    p.add_(s['final_norm_add'])
            elif p.dim() == 1:
                p.copy_(0.3 * noise)
            else:
                p.copy_(noise * p.shape[-1] ** -0.5)
                if 'embed_tokens' in name:
                    p.mul_(s['embed_scale'])
            p.copy_(p.to(getattr(torch, s['dtype'])).float())


def continue_greedily(model, ids):
    """Returns the greedy ids and the smallest lead of a chosen token; stops early where the lead is too small."""
    import torch
    x, least = ids[:, :PROMPT], float('inf')
    while x.shape[1] < LENGTH and least >= MIN_GAP:
        best = model(x, use_cache=False).logits[0, -1].topk(2)
        least = min(least, float(best.values[0] - best.values[1]))
        x = torch.cat([x, best.indices[:1].view(1, 1)], 1)
    return x, least


def reference(model, vocab_size, seed):
    import torch
    with torch.no_grad():
        for prompt in range(400):
            g = torch.Generator().manual_seed(seed * 1000 + prompt)
            ids = torch.randint(3, vocab_size, (1, LENGTH), generator=g)
            greedy, gap = continue_greedily(model, ids)
            distinct = len(set(greedy[0, PROMPT:].tolist()))
            if gap >= MIN_GAP and distinct >= MIN_DISTINCT:
                break
        else:
            raise RuntimeError(f'no prompt gives a varied continuation: lead {gap:.4f}, {distinct} distinct tokens')
        logits = model(ids, use_cache=False).logits.float()
    assert torch.isfinite(logits).all()
    print(f'  logits std {logits.std():.3f} max {logits.abs().max():.2f}; greedy: least lead {gap:.4f}, {distinct} distinct; '
          f'prompt {prompt}')
    return {'input_ids': ids.int(), 'logits': logits.contiguous(), 'greedy_ids': greedy.int().contiguous()}


def make(name, s, folder, seed):
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM
    torch.manual_seed(seed)
    config = AutoConfig.for_model(s['model_type'], **s['config'])
    model = AutoModelForCausalLM.from_config(config, attn_implementation='eager').float().eval()
    draw_weights(model, s, seed)
    print(f'{name}: {sum(p.numel() for p in model.parameters())} parameters')
    golden = reference(model, s['config']['vocab_size'], seed)
    model.to(getattr(torch, s['dtype'])).save_pretrained(folder, **({'max_shard_size': s['shard']} if s['shard'] else {}))
    if s['edit']:
        path = pathlib.Path(folder, 'config.json')
        path.write_text(json.dumps(dict(json.loads(path.read_text()), **s['edit']), indent=2, sort_keys=True) + '\n')
    save_file(golden, f'{folder}/golden.safetensors')


def load(folder, config_name='config.json'):
    """The model of a folder in float32, with the config file of that name."""
    import torch
    from transformers import AutoModelForCausalLM
    with tempfile.TemporaryDirectory() as copy:
        for path in pathlib.Path(folder).resolve().iterdir():
            if path.name not in ('config.json', config_name):
                os.symlink(path, f'{copy}/{path.name}')
        text = pathlib.Path(folder, config_name).read_text()
        pathlib.Path(copy, 'config.json').write_text(text)
        return AutoModelForCausalLM.from_pretrained(copy, dtype=torch.float32, attn_implementation='eager').eval()


def check(folder):
    import torch
    from safetensors.torch import load_file
    golden = load_file(f'{folder}/golden.safetensors')
    for config_name in ('config.json', 'config.older.json'):
        if not pathlib.Path(folder, config_name).exists():
            continue
        model = load(folder, config_name)
        with torch.no_grad():
            worst = (model(golden['input_ids'].long(), use_cache=False).logits - golden['logits']).abs().max()
            line = f'check {pathlib.Path(folder).name} {config_name}: worst difference {worst:.2e}'
            if torch.cuda.is_available():  # another order of summation: shows how far rounding alone reaches
                torch.backends.cuda.matmul.allow_tf32 = False
                ids = golden['input_ids'].long().cuda()
                other = (model.cuda()(ids, use_cache=False).logits.cpu() - golden['logits']).abs().max()
                line += f', on the GPU {other:.2e}'
        print(line + ('' if worst < 1e-4 else '  WRONG'))


def attempt(what, action, *arguments):
    try:
        action(*arguments)
    except Exception as error:  # one failure must not lose the others
        print(f'FAILED {what}: {type(error).__name__}: {str(error)[:600]}')


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--out')
    p.add_argument('--weights')
    p.add_argument('--check')
    p.add_argument('--older')
    a = p.parse_args()
    if a.out:
        import torch
        import transformers
        print('torch', torch.__version__, 'transformers', transformers.__version__)
        for below, models, first_seed in (('models', ADDED, 200), ('gguf-source', FOR_GGUF, 300)):
            for i, (name, s) in enumerate(models.items()):
                attempt(name, make, name, s, f'{a.out}/{below}/{name}', first_seed + i)
    if a.weights:
        from safetensors.torch import save_file
        pathlib.Path(a.out, 'gguf-quantised').mkdir(parents=True)
        for i, folder in enumerate(sorted(pathlib.Path(a.weights).iterdir())):
            def quantised():
                model = load(folder)
                print(f'{folder.name}: {sum(q.numel() for q in model.parameters())} parameters')
                save_file(reference(model, VOCAB, 400 + i), f'{a.out}/gguf-quantised/{folder.name}.safetensors')
            attempt(folder.name, quantised)
    if a.older:
        write_older(a.older)
    if a.check:
        for folder in sorted(pathlib.Path(a.check).iterdir()):
            attempt(folder.name, check, folder)


if __name__ == '__main__':
    main()
