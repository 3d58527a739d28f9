"""Makes the tokenizer references beyond the five plain kinds: tests/golden/tokenizers/<kind>/.

    pip install tokenizers==0.23.3 sentencepiece==0.2.1
    python make_tokenizer_golden.py tokenizers

A folder with tokenizer.json is a Hugging Face tokenizer; its cases.json lists {text, ids, decoded} and, where they
differ, ids_with_special (add_special_tokens), ids_without_parsing (special tokens taken as text) and
decoded_without_special. A folder with gguf.json holds the keys of a GGUF file (tokenizer.ggml.*, without the prefix);
its cases.json maps each `pre` to a list of {text, ids}. Everything is trained here on generated sentences and on the
licence texts of the system; nothing is downloaded.
"""
import io
import json
import os
import random
import sys

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SCRIPTS = ("Größe, naïve café, señor, Ελληνικά κείμενο, Русский текст для проверки, 日本語のテキストと漢字, 中文分词测试，你好世界, "
           "한국어 문장, العربية نص, हिन्दी पाठ, ไทย, עברית 😀😃👩‍👩‍👧‍👦🇩🇪 ½ ² ① Ⅷ ﬁ ㎏ Å e\u0301")
LICENCE = open("/usr/share/common-licenses/Apache-2.0", encoding="utf8").read()
CORPUS = [LICENCE[i:i + 400] for i in range(0, len(LICENCE), 400)] + [SCRIPTS] * 8

TEXTS = [
    "", "Hello, world!", " leading", "trailing ", "  two  spaces  ", "\n\n\n", "\t\tindent\n    code()\r\nend",
    "I'm you're we'll THEY'D HE'S it\u2019s 'ſ", "1234567890 3.14159 1,000,000 12a345", "a" * 200, " " * 70, SCRIPTS,
    "½ ² ① Ⅷ ﬁ ㎏ Å A\u030a e\u0301 \u1e9b\u0323 ＦＵＬＬ ｗｉｄｔｈ", "zero\u200bwidth\ufeffbom\u00a0nbsp\u3000ideo\u180emvs\u0085nel",
    "\u0000\u0001\u001f\u007f", "\ud7ff\ue000\U0010ffff", "𝔘𝔫𝔦 𝟙𝟚𝟛 ٣٤ ५६ ⅳ", " \u2003 \u2028 \u2029 ", "…...!!!???;;;$+<=>^`|~",
    "ß ẞ ı İ ǆ Ǆ camelCase HTTPServer snake_case", "\r\r\n\n\r", "x**2 # c\n\treturn f'{y}'\n", "▁already ▁▁ marked",
    "<s>one</s><s> two </s> three<unk>", "<0x41><0xE2>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>", "a<mask>b", "a <mask> b",
    "a  <mask>  <mask>  b", "<left> x <left>y\n\n<right>  z<right>\u3000w", "word wordy sword word, (word) word", "Café CAFÉ café",
    "ﬁne fine ﬁ fi", "tool_call tool_calls <tool> < tool>", "<<long>> <long> <longer> <longer", "é<é>é", "日本<mask>語 word日 日word",
    "  <right>", "<left>  ", "\u00a0<left>\u00a0", "<s>", "</s>x", "Z" * 40 + "1" * 10,
]


def texts(seed):
    r = random.Random(seed)
    blocks = [(0x20, 0x7e), (0xa0, 0x17f), (0x370, 0x3ff), (0x400, 0x4ff), (0x4e00, 0x4fff), (0x1f600, 0x1f64f), (0x9, 0xd),
              (0x2000, 0x206f), (0x600, 0x6ff), (0x900, 0x97f), (0x1100, 0x11ff), (0x300, 0x36f)]
    words = [" ", "  ", "\n", "the ", "ing", "1", "23", "word", "<mask>", "<left>", "<right>", "<s>", "▁", "'s", "fine", "<long>"]
    return TEXTS + ["".join(chr(r.randint(*r.choice(blocks))) if r.random() < .5 else r.choice(words) for _ in range(r.randint(1, 40)))
                    for _ in range(60)]


def dump(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        json.dump(value, f, ensure_ascii=True, separators=(",", ":"))


def write(out, name, tokenizer, seed, edit=lambda text: None):
    data = json.loads(tokenizer.to_str())
    edit(data)
    tokenizer = Tokenizer.from_str(json.dumps(data))
    rows = []
    for text in texts(seed):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        row = {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
        optional = {"ids_with_special": (tokenizer.encode(text).ids, ids),
                    "decoded_without_special": (tokenizer.decode(ids), row["decoded"])}
        tokenizer.encode_special_tokens = True
        optional["ids_without_parsing"] = (tokenizer.encode(text, add_special_tokens=False).ids, ids)
        tokenizer.encode_special_tokens = False
        rows.append(row | {key: value for key, (value, plain) in optional.items() if value != plain})
    dump(f"{out}/{name}/tokenizer.json", data)
    dump(f"{out}/{name}/cases.json", rows)


def train(tokenizer, size=500, special=(), alphabet=(), **options):
    corpus = CORPUS if options.pop("lines", True) else [w for t in CORPUS for w in t.split("\n")]
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=list(alphabet), show_progress=False, **options))
    return tokenizer


ADDED = [
    AddedToken("<mask>", lstrip=True, special=True, normalized=False), AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False), AddedToken("word", single_word=True, normalized=False),
    AddedToken("Café", normalized=True), AddedToken("ﬁne", normalized=True), AddedToken("tool_call", single_word=True, normalized=True),
    AddedToken("<long>", normalized=False), AddedToken("<longer>", normalized=False, special=True), AddedToken("<<long>>", rstrip=True, lstrip=True),
    AddedToken("<é>", special=True, normalized=False),
]


def byte_level(size=500, special=("<s>", "</s>", "<|im_start|>", "<|im_end|>"), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, size, special, pre_tokenizers.ByteLevel.alphabet())


BYTES = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]


def unflag_bytes(data):
    """Byte pieces are ordinary pieces, not added tokens: text that spells one is text."""
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]


def metaspace(size=700, special=BYTES, pre=None, **model):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, **model))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    train(tokenizer, size, special, limit_alphabet=250, lines=False)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def template(tokenizer, single):
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=None, special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("<s>", "</s>")])
    return tokenizer


def old_merges(data):
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]


def make_hugging_face(out):
    t = template(byte_level(), "<s> $A </s>")
    t.add_tokens(ADDED)
    write(out, "added-bytelevel", t, 1, old_merges)

    t = byte_level()
    t.normalizer = normalizers.NFKC()
    t.add_tokens(ADDED)
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(byte_level(), "<s> $A").post_processor])
    write(out, "added-nfkc-sequence", t, 2)

    t = byte_level()
    t.normalizer = normalizers.Sequence([normalizers.Strip(left=True, right=True), normalizers.NFD()])
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.add_tokens(ADDED)
    write(out, "prefix-space-strip-nfd", t, 3)

    for scheme, split in (("always", True), ("first", True), ("first", False), ("never", False)):
        pre = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=split)
        t = template(metaspace(pre=pre, byte_fallback=True), "<s> $A")
        t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(replacement="▁", prepend_scheme=scheme)])
        t.add_tokens(ADDED)
        write(out, f"metaspace-{scheme}-{'split' if split else 'whole'}", t, 4, unflag_bytes)

    # Gemma: the spaces are replaced first, words end in them, runs of newlines are tokens of their own.
    t = metaspace(byte_fallback=True, pre=pre_tokenizers.Split(" ", "merged_with_previous"))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.add_tokens([AddedToken(s, normalized=False) for s in ("\n\n", "\n\n\n", "▁▁", "▁▁▁▁", "\t\t")])
    write(out, "gemma-like", template(t, "<s> $A"), 5, unflag_bytes)

    # No byte pieces: unknown characters, alone and in runs.
    for fuse in (False, True):
        t = metaspace(size=400, special=["<unk>", "<s>", "</s>"])
        t.model.fuse_unk = fuse
        t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Prepend("▁"), normalizers.Replace(Regex(r"\s"), "▁")])
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        write(out, "unknown-fused" if fuse else "unknown-single", t, 6)

    # Patterns of other models: GPT-4o, DeepSeek V3, and every way to split.
    gpt4o = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
             r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|"
             r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t = byte_level()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(gpt4o), "removed", invert=True), last])
    write(out, "split-gpt4o", t, 7)
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"), pre_tokenizers.Split(Regex(r"[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        pre_tokenizers.Split(Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
                                   r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"), last])
    write(out, "split-deepseek", t, 8)
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(r"\s"), behavior), pre_tokenizers.Split("e", behavior, invert=behavior == "contiguous"), last])
        write(out, "split-" + behavior.replace("_", "-"), t, 9)
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("merged_with_previous"),
        pre_tokenizers.Digits(individual_digits=False), last])
    write(out, "words-punctuation-digits", t, 10)
    t.decoder = None
    t.pre_tokenizer = pre_tokenizers.Punctuation()
    write(out, "no-decoder", t, 11)


# How llama.cpp splits for each `tokenizer.ggml.pre` (src/llama-vocab.cpp).
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
LLAMA3 = (r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PRE = {"default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"], "gpt-2": [GPT2], "llama-bpe": [LLAMA3],
       "qwen2": [LLAMA3.replace("{1,3}", "")], "smollm": [r"\p{N}", GPT2]}
TYPES = {"normal": 1, "unknown": 2, "control": 3, "user": 4, "byte": 6}


def make_gguf_gpt2(out):
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    base = json.loads(byte_level().to_str())
    vocab = base["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.get) + ["<mask>"]
    types = [TYPES["control"] if t in special else TYPES["normal"] for t in tokens[:-1]] + [TYPES["user"]]
    cases = {}
    for pre, patterns in PRE.items():
        t = Tokenizer.from_str(json.dumps(base))
        t.model.ignore_merges = pre == "llama-bpe"
        t.normalizer = normalizers.NFC() if pre == "qwen2" else None
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns] +
                                                  [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        t.add_tokens([AddedToken("<mask>", normalized=False)])
        # (?i) matches U+017F as s, llama.cpp's own spelling does not: such texts are left out.
        cases[pre] = [{"text": s, "ids": t.encode(s, add_special_tokens=False).ids} for s in texts(20) if "ſ" not in s]
    dump(f"{out}/gguf-gpt2/gguf.json", {
        "model": "gpt2", "tokens": tokens, "token_type": types, "merges": [" ".join(m) for m in base["model"]["merges"]],
        "bos_token_id": vocab["<s>"], "eos_token_id": vocab["<|im_end|>"]})
    dump(f"{out}/gguf-gpt2/cases.json", cases)


def make_gguf_llama(out):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for t in CORPUS for line in t.split("\n") if line.strip()), model_writer=model, vocab_size=800,
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        character_coverage=0.995, user_defined_symbols=["<mask>"], minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    n = sp.get_piece_size()
    kind = lambda i: ("unknown" if sp.is_unknown(i) else "control" if sp.is_control(i) else "byte" if sp.is_byte(i) else
                      "user" if sp.id_to_piece(i) == "<mask>" else "normal")
    # SentencePiece takes control symbols in a text as text and puts no space behind a symbol: texts with either are left out.
    rows = [{"text": s, "ids": sp.encode(s)} for s in texts(30) if not any(m in s for m in ("<s>", "</s>", "<unk>", "<mask>", "\0"))]
    dump(f"{out}/gguf-llama/gguf.json", {
        "model": "llama", "tokens": [sp.id_to_piece(i) for i in range(n)], "scores": [sp.get_score(i) for i in range(n)],
        "token_type": [TYPES[kind(i)] for i in range(n)], "bos_token_id": sp.bos_id(), "eos_token_id": sp.eos_id(),
        "unknown_token_id": sp.unk_id()})
    dump(f"{out}/gguf-llama/cases.json", {"": rows})


if __name__ == "__main__":
    make_hugging_face(sys.argv[1])
    make_gguf_gpt2(sys.argv[1])
    make_gguf_llama(sys.argv[1])
