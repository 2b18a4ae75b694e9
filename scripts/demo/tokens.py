"""The demo model's tokenizer: the released one cut to the tokens that its small world needs.

Cutting keeps all 256 byte tokens, the wanted tokens, every token on the way to them, and exactly the merges between kept
tokens, in their released order. So it stays an ordinary byte-level BPE that any runtime can load.
"""
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

HERE = Path(__file__).parent
FILE = HERE / "vocabulary.json"
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def build(tokens, merges, special=()):
    vocabulary = {t: i for i, t in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


class Tokens:
    """Encodes and decodes, and knows the ids that the prompt format needs."""

    def __init__(self, file=FILE):
        data = json.loads(Path(file).read_text())
        self.tokens, self.merges, self.types = data["tokens"], data["merges"], data["types"]
        self.template = data["chat_template"]
        special = [t for t, kind in zip(self.tokens, self.types) if kind == 3]
        self.tokenizer = build(self.tokens, self.merges, special)
        self.id = {t: i for i, t in enumerate(self.tokens)}
        self.size = len(self.tokens)
        self.end, self.start, self.pad = self.id["<|im_end|>"], self.id["<|im_start|>"], self.id["<|endoftext|>"]
        self.image, self.video = self.id["<|image_pad|>"], self.id["<|video_pad|>"]
        self.newline = self.encode("\n")
        self.opening = self.encode("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")
        self.reply = self.encode("<|im_end|>\n<|im_start|>assistant\n")
        self.again = self.encode("\n<|im_start|>user\n")
        self._memory = {}

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_said(self, answer):
        """Ids of an answer, and for each what its last character is about (a list of boxes or None).

        What is spelled is encoded letter by letter: a letter looks at one place in the picture, a piece of a word at several."""
        where, apart = getattr(answer, "where", None), getattr(answer, "apart", None) or [False] * len(answer)
        ids, about, at = [], [], 0
        while at < len(answer):
            end = at + 1
            while end < len(answer) and not apart[at] and not apart[end]:
                end += 1
            found = self.tokenizer.encode(answer[at:end], add_special_tokens=False)
            ids += found.ids
            about += [where[at + last - 1] if where and last else None for _, last in found.offsets]
            at = end
        return ids, about

    def recall(self, text):
        """`encode`, remembering: most questions come again and again."""
        if text not in self._memory:
            if len(self._memory) > 50000:
                self._memory.clear()
            self._memory[text] = self.encode(text)
        return self._memory[text]

    def decode(self, ids):
        return self.tokenizer.decode([i for i in ids if i not in (self.end, self.pad)], skip_special_tokens=False)
