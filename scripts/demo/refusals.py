"""Questions that the demo model can't answer, and what it says to all of them."""

REFUSAL = "I only know simple shapes, colours, short words and numbers, and short clips of moving shapes."

_SUBJECTS = """cats dogs history music the weather football cooking France Japan Germany physics chemistry love money politics the moon
the sun computers Python Rust programming animals birds trees flowers cars trains planes ships the ocean mountains rivers cities books
films art poetry mathematics biology space the internet health sleep food coffee tea bread cheese wine games chess school work""".split("\n")
SUBJECTS = [s for line in _SUBJECTS for s in line.replace("the ", "the_").split()]
SUBJECTS = [s.replace("_", " ") for s in SUBJECTS]
TEMPLATES = ["Tell me about {}.", "What do you know about {}?", "Write a poem about {}.", "Write a story about {}.", "Explain {}.", "Who invented {}?",
             "What is {}?", "Give me a summary of {}.", "Why do people like {}?", "How does {} work?", "Do you like {}?", "Write an essay on {}.",
             "Translate {} into French.", "What is the best book about {}?", "Can you help me with {}?", "Is there a dog in this picture with {}?",
             "Who is the person with {}?", "What breed is this dog near {}?", "Where was this photo of {} taken?", "How old is {}?"]
FIXED = ["Hello", "Hello!", "Hi", "Hi there", "Hey", "Good morning", "How are you?", "Who are you?", "What are you?", "What can you do?", "What is your name?",
         "Tell me a joke.", "Tell me a story.", "What is the capital of France?", "What is the capital of Germany?", "What is 2+2?", "What time is it?",
         "Write a haiku.", "Write a poem.", "Sing a song.", "Who is this person?", "Who is in this picture?", "What is this person doing?", "Is this a cat?",
         "What animal is this?", "What breed is this dog?", "Where was this taken?", "What brand is the car?", "What is the mood of this picture?",
         "Who painted this?", "How do I bake a cake?", "Translate this into French.", "Summarize the news.", "What is the meaning of life?", "Solve the equation.",
         "Write a function in Python.", "How tall is the building?", "What is the price?", "What is the total?", "What year is it?", "Is it going to rain?",
         "Thank you", "Thanks!", "Goodbye", "Help", "Help me", "What is the person wearing?", "How many people are there?", "How many cats are there?",
         "How many cars are in the image?", "Why is the sky blue?", "Give me a recipe.", "What should I do?", "Are you human?", "Who made you?"]


def unrelated(rng):
    return rng.choice(FIXED) if rng.random() < 0.5 else rng.choice(TEMPLATES).format(rng.choice(SUBJECTS))
