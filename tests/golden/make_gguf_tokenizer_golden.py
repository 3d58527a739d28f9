"""Writes tokenizer_cases.json beside each GGUF golden file that carries a tokenizer. Needs gguf, tokenizers, sentencepiece, protobuf.

    make_gguf_tokenizer_golden.py GGUF

The vocabulary is read back from the GGUF and handed to the library it stands for: "gpt2" to tokenizers, "llama" to sentencepiece.
Each case is {"text", "ids"}: no token added in front, special tokens in the text taken as plain text. All texts are in NFC.
"""
import json
import pathlib
import sys

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

# The splits that llama.cpp knows as tokenizer.ggml.pre; only the digits differ.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
PRE = {'llama-bpe': SPLIT.format('{1,3}'), 'qwen2': SPLIT.format('')}

TEXTS = ['', 'Hello, world!', ' leading', 'trailing ', '  two  spaces  ', '\n\n\n', '\t\tindent\n    code()\r\nend',
         "I'm you're we'll they'd HE'S", '1234567890 3.14159 1,000,000', 'the other thing is in the bath or the sea', 'a' * 50,
         'naïve café Größe — “quotes” … ‘x’', 'Русский 日本語 한국어', '😀👩‍👩‍👧‍👦🇩🇪', 'zero\u200bwidth\u00a0nbsp\u3000ideo', '\u0001\u007f',
         'def f(x):\n\treturn x**2  # comment\n', 'mixed123abc456 _under_score camelCase HTTPServer', '<s>plain</s>', '▁']


def byte_level(fields, tokens):
    merges = [tuple(m.split(' ')) for m in fields['tokenizer.ggml.merges']]
    pre = fields['tokenizer.ggml.pre']
    t = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges,
                             ignore_merges=pre == 'llama-bpe'))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PRE[pre]), 'isolated'),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()

    def encode(text):
        ids = t.encode(text, add_special_tokens=False).ids
        assert t.decode(ids, skip_special_tokens=False) == text
        return ids
    return encode


def sentencepiece_bpe(fields, tokens):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.vocab_size = len(tokens)
    proto.normalizer_spec.name = 'identity'
    proto.normalizer_spec.add_dummy_prefix = fields['tokenizer.ggml.add_space_prefix']
    proto.normalizer_spec.remove_extra_whitespaces = False
    for token, score, kind in zip(tokens, fields['tokenizer.ggml.scores'], fields['tokenizer.ggml.token_type']):
        proto.pieces.add(piece=token, score=score, type=kind)  # GGUF numbers the kinds as SentencePiece does
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString()).encode


def main():
    for path in sorted(pathlib.Path(sys.argv[1]).glob('*/model.gguf')):
        fields = {name: f.contents() for name, f in gguf.GGUFReader(path).fields.items() if name.startswith('tokenizer.')}
        if not fields:
            continue
        make = {'gpt2': byte_level, 'llama': sentencepiece_bpe}[fields['tokenizer.ggml.model']]
        encode = make(fields, fields['tokenizer.ggml.tokens'])
        cases = [{'text': text, 'ids': list(encode(text))} for text in TEXTS]
        path.with_name('tokenizer_cases.json').write_text('[\n' + ',\n'.join(json.dumps(case) for case in cases) + '\n]\n')
        print(path.parent.name, len(cases), 'cases;', cases[9]['ids'])


if __name__ == '__main__':
    main()
