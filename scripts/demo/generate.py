"""Greedy answers of the PyTorch model, many pictures of one size at once."""
import numpy as np
import torch

from batches import FACTOR, opening
from network import Whole


class Cache:
    """Keys and values so far; each row of the batch has its own length."""

    def __init__(self, b, longest):
        self.longest, self.store = longest, {}
        self.at = None                    # [b, n] where the tokens of this call go
        self.b = b

    def put(self, layer, k, v):
        if layer not in self.store:
            shape = (self.b, self.longest, *k.shape[2:])
            self.store[layer] = (torch.zeros(shape), torch.zeros(shape))
        keys, values = self.store[layer]
        index = self.at[:, :, None, None].expand(-1, -1, *k.shape[2:])
        keys.scatter_(1, index, k.float())
        values.scatter_(1, index, v.float())
        return keys, values


@torch.no_grad()
def answers(model, tokens, frames, prompts, seconds=0.0, most=256):
    """frames uint8 [b, groups, 1 or 2, H, W, 3] and b prompts → b answers."""
    b, groups, _, height, width, _ = frames.shape
    ids, positions, first, following = opening(tokens, groups, height // FACTOR, width // FACTOR, seconds, seconds > 0)
    tails = [tokens.encode(p) + tokens.reply for p in prompts]
    lengths = torch.tensor([len(ids) + len(t) for t in tails])
    n = int(lengths.max())
    tails_ids = torch.tensor([t + [tokens.pad] * (n - len(ids) - len(t)) for t in tails])
    text = np.tile(following + np.arange(n - len(ids)), (3, 1))
    all_positions = torch.from_numpy(np.concatenate([positions, text], 1)).expand(b, 3, n)
    cache = Cache(b, n + most)
    cache.at = torch.arange(n).expand(b, n)
    slots = torch.arange(n + most)
    mask = (slots[None] <= torch.arange(n)[:, None])[None, None].expand(b, 1, n, n + most)
    x, _ = model.embed(torch.tensor(ids), tails_ids.flatten(), torch.from_numpy(frames), first)
    openings, rest = x[0].float().split((b * len(ids), tails_ids.numel()))
    x = torch.cat((openings.view(b, len(ids), -1), rest.view(b, n - len(ids), -1)), 1)
    hidden, _ = model.model.language_model(x, all_positions, Whole(mask, cache))
    last = hidden[torch.arange(b), lengths - 1]
    out, done = [[] for _ in range(b)], torch.zeros(b, dtype=torch.bool)
    for step in range(most):
        chosen = model.logits(last).argmax(-1)
        for i in range(b):
            if not done[i]:
                if int(chosen[i]) == tokens.end:
                    done[i] = True
                else:
                    out[i].append(int(chosen[i]))
        if bool(done.all()) or step + 1 == most:
            break
        at = lengths + step
        cache.at = at[:, None]
        place = (following + at - len(ids))[:, None, None].expand(b, 3, 1)
        x = torch.nn.functional.embedding(chosen[:, None], model.model.language_model.embed_tokens.weight)
        hidden, _ = model.model.language_model(x, place, Whole((slots[None] <= at[:, None])[:, None, None], cache))
        last = hidden[:, 0]
    return [tokens.decode(o) for o in out]
