"""The stages of training: first only looking (shapes and letters, no language), then small pictures and
short answers, then everything."""

SHORT = dict(describe=4, count=3, colour=4, shape=3, exists=1, ground=0.5, point=3, read=3, unrelated=0.3)
MIXED = dict(describe=4, count=3, colour=1.5, shape=1, exists=1, ground=0.5, locate=4, point=2, read=4, text_box=0.7, unrelated=0.6)
LOOK = dict(describe=1)

STAGES = [
    # sides: smallest, largest (in visual tokens of 28 pixels), most visual tokens; budget: visual tokens per step;
    # look: the share of steps that only look
    dict(name="look", steps=549, sides=(2, 8, 49), things=4, text=0.5, asks=0, questions=LOOK, budget=3200, text_cost=0),
    dict(name="small", steps=700, look=0.1, sides=(2, 5, 20), things=2, text=0.3, asks=6, questions=SHORT, budget=2000, text_cost=60),
    dict(name="short", steps=1500, look=0.1, sides=(2, 9, 49), things=3, text=0.25, asks=6, questions=SHORT, budget=2400, text_cost=60),
    dict(name="medium", steps=900, look=0.15, sides=(2, 20, 120), things=4, text=0.3, asks=5, questions=MIXED, budget=2600, text_cost=60),
    dict(name="large", steps=3000, look=0.15, sides=(2, 20, 400), things=5, text=0.35, asks=5, questions=MIXED, budget=3000, documents=0.12, clips=0.12,
         clip_sides=(2, 6, 220, 8), full_clips=0.3, text_cost=60),
]

TOTAL = sum(s["steps"] for s in STAGES)
COOL = 1300          # the learning rate falls to nothing over this many steps at the end
