#!/usr/bin/env python3
"""Cuts the released Qwen2.5 vocabulary to the demo model's: cut_vocabulary.py FULL.gguf writes vocabulary.json beside this file.

FULL.gguf is any GGUF of Qwen2.5-VL (its tokenizer is read, not its weights). The result is committed; this only documents it.
"""
import json
import random
import re
import sys

import gguf

import tokens as T


def world_texts():
    """Everything that prompts and answers are made of, but for the printed words, which should stay single letters."""
    import clips
    import questions as Q
    import refusals as R
    from scenes import draw_document, draw_picture
    rng = random.Random(5)
    texts = ["system\nYou are a helpful assistant.", "user\n", "assistant\n", R.REFUSAL]
    # what has no place in this world is asked in whatever pieces there are: more of them would only break printed words up
    texts += Q.DESCRIBE + Q.READ + Q.NUMBER + Q.HTML
    for _ in range(600):
        scene, _ = draw_picture(rng, 168, 168, rng.randint(0, 5), 0)
        weights = dict(describe=2, count=3, colour=2, shape=2, exists=2, ground=1, locate=6, point=3, read=1, text_box=1)
        texts += [part for pair in Q.questions_for(rng, scene, 8, weights) for part in pair]
        texts += [part for pair in clips.sample_texts(rng) for part in pair]
    texts += ['The image shows the word "A', 'The image shows the number "1', ' and the word "', ' and the number "', '[{"bbox_2d": [1, 2], "text_content": "',
              '<html><body>\n<h1 data-bbox="1 2"></h1>\n<p data-bbox="1"></p>\n<table data-bbox=""><tr><td></td><td></td></tr></table>\n</body></html>']
    texts += [q for q in ("Spotting all the text in the image with line-level, and output in JSON format.", "Locate every text, output its bbox coordinates in JSON format.")]
    return texts


def cut(full_tokens, full_types, full_merges, texts):
    full = T.build(full_tokens, full_merges)
    rank = {m: i for i, m in enumerate(full_merges)}
    made = {}
    for m in full_merges:
        a, b = m.split(" ")
        made.setdefault(a + b, (a, b))
    wanted = set()
    for text in set(texts):
        wanted.update(full.encode(text, add_special_tokens=False).tokens)
    # several capitals in one token would only make reading harder
    wanted = {t for t in wanted if not re.search("[A-Z].*[A-Z]", t)}
    letters = [t for t, kind in zip(full_tokens[:256], full_types) if kind == 1]
    assert len(letters) == 256 and all(len(t) == 1 for t in letters)
    keep, stack = set(letters), list(wanted)
    while stack:
        t = stack.pop()
        if t not in keep:
            keep.add(t)
            stack += made[t]
    merges = [m for m in full_merges if all(p in keep for p in m.split(" ")) and "".join(m.split(" ")) in keep]
    assert rank
    normal = letters + [t for t in full_tokens if t in keep and len(t) > 1]
    return normal, merges


def main():
    reader = gguf.GGUFReader(sys.argv[1])
    get = lambda key: reader.fields["tokenizer." + key].contents()
    tokens, types, merges = get("ggml.tokens"), get("ggml.token_type"), get("ggml.merges")
    normal, kept = cut(tokens, types, merges, world_texts())
    special = [(t, k) for t, k in zip(tokens, types) if t in SPECIAL]
    out = normal + [t for t, _ in special]
    kinds = [1] * len(normal) + [k for _, k in special]
    while len(out) % 32:
        out.append(f"[PAD{len(out)}]")
        kinds.append(5)
    T.FILE.write_text(json.dumps({"tokens": out, "types": kinds, "merges": kept, "chat_template": get("chat_template")}, ensure_ascii=False, indent=0))
    print(f"{len(out)} tokens, {len(kept)} merges")


SPECIAL = set("""<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|>
<|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> <tool_call> </tool_call> <|fim_prefix|>
<|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>""".split())

if __name__ == "__main__":
    main()
