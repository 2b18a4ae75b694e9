"""The stages of training: first only looking (shapes and letters, no language), then small pictures and
short answers, then everything."""

SHORT = dict(describe=4, count=3, colour=2, shape=1.5, exists=1, ground=0.3, locate=4, point=1.5, read=4, unrelated=0.3)
MIXED = dict(describe=4, count=3, colour=1.5, shape=1, exists=1, ground=0.4, locate=4, point=2, read=4, text_box=0.7, unrelated=0.5)
LOOK = dict(describe=1)
ALL = dict(describe=4, count=3, colour=1.5, shape=1, exists=1, ground=0.4, locate=4, point=2, read=7, text_box=1, form=0.8, unrelated=0.6)

STAGES = [
    # sides: smallest, largest (in visual tokens of 28 pixels), most visual tokens; budget: visual tokens per step;
    # text_cost: what a picture's questions count beside its visual tokens; look: the share of steps that only look;
    # text: the share of pictures with print; crowds: of those that are full of everything; enlarged: small ones come as
    # the program shows them to the model
    dict(name="look", steps=240, sides=(2, 8, 49), things=4, text=0.5, asks=0, questions=LOOK, budget=2400, text_cost=0),
    dict(name="small", steps=220, sides=(2, 5, 20), things=2, text=0.4, asks=5, questions=SHORT, budget=1500, text_cost=40),
    dict(name="crowds", steps=600, sides=(3, 8, 49), things=5, text=0.3, asks=0, questions=LOOK, budget=2600, text_cost=0, crowds=0.8),
    dict(name="short", steps=450, look=0.25, sides=(2, 10, 60), things=3, text=0.4, asks=6, questions=SHORT, budget=2000, text_cost=50),
    dict(name="large", steps=1020, look=0.4, sides=(2, 20, 400), things=5, text=0.4, asks=6, questions=MIXED, budget=2600, documents=0.12, clips=0.12,
         clip_sides=(2, 6, 220, 8), full_clips=0.25, text_cost=60),
]

# What a trained pair goes on with (`train.py --start`): everything at once, and steps of nothing but print (`print`: their share), up to
# seven lines in a picture, for letters are what takes longest to learn. A GPU makes large steps (`--scale`) at the full learning rate;
# those of two CPU cores want a sixth of it (`--rate 0.15`), or what was learned is lost in their noise, and little of what is learned
# beside the answers (`--helps 0.1`): the optimiser takes steps of one length, whichever loss they serve.
MORE = dict(name="more", seed="more", steps=1_000_000, look=0.15, print=0.55, sides=(2, 20, 400), things=5, text=0.35, asks=6,
            questions={**ALL, "count": 8, "colour": 5}, budget=2600, documents=0.12, clips=0.06, enlarged=True, clip_sides=(2, 6, 220, 8),
            full_clips=0.4, text_cost=60)

COOL = 450           # the learning rate falls to nothing over this many steps at the end
