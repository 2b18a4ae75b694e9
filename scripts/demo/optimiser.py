"""Muon for the matrices inside the blocks, AdamW for everything else.

Muon replaces a matrix's momentum by the nearest orthogonal one (five Newton-Schulz steps): every direction learns equally
fast, which about halves the steps that a small transformer needs. Equal shapes are orthogonalized together.
"""
import torch


def orthogonal(g, steps=5):
    """The nearest semi-orthogonal matrices to a stack g [k, rows, columns]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, parts, lr, momentum=0.95, decay=0.01):
        """parts: parameters, each with the number of equal row blocks to treat apart (3 for a fused q, k, v)."""
        super().__init__([{"params": [p]} for p, _ in parts], dict(lr=lr, momentum=momentum, decay=decay))
        self.split = {p: n for p, n in parts}

    @torch.no_grad()
    def step(self):
        shapes = {}
        for group in self.param_groups:
            p = group["params"][0]
            if p.grad is None:
                continue
            state = self.state[p]
            if "m" not in state:
                state["m"] = torch.zeros_like(p)
            m = state["m"].lerp_(p.grad, 1 - group["momentum"])
            look = p.grad.lerp(m, group["momentum"])
            p.mul_(1 - group["lr"] * group["decay"])
            for d, piece in zip(p.data.flatten(1).chunk(self.split[p]), look.flatten(1).chunk(self.split[p])):
                shapes.setdefault(piece.shape, []).append((d, piece, group["lr"]))
        for (rows, columns), items in shapes.items():
            stack = orthogonal(torch.stack([g for _, g, _ in items]))
            scale = max(1, rows / columns) ** 0.5
            for (d, _, lr), update in zip(items, stack):
                d.add_(update, alpha=-lr * scale)


def optimisers(model, heads, muon_lr=0.008, adam_lr=1.2e-3):
    parts, rest, flat = [], [], []
    for name, p in model.named_parameters():
        inner = ".blocks." in name or ".layers." in name or ".merger.mlp" in name or ".patch_embed." in name
        if p.ndim > 1 and inner:
            parts.append((p, 3 if name.endswith("attn.qkv.weight") else 1))
        elif p.ndim == 1:
            flat.append(p)
        else:
            rest.append(p)
    rest += list(heads.parameters())
    adam = torch.optim.AdamW([{"params": rest, "weight_decay": 0.01}, {"params": flat, "weight_decay": 0.0}], lr=adam_lr, betas=(0.9, 0.97))
    return [Muon(parts, muon_lr), adam]
