"""Short sentences about animals from a probabilistic context-free grammar: whether a text is right can be decided.

(Kusner & Hernandez-Lobato 2016 trained the first text GAN by Gumbel-softmax on the language of a grammar, too.)
"""

import random
import re
from functools import cache

# What each part may become, alternatives of equal chance; a name in capitals is a part, anything else a word. No part
# contains itself. S and P are singular and plural: the verb has to agree with a subject that may be several words away.
GRAMMAR = {
    "SENTENCE": ["CLAUSE .", "CLAUSE .", "WHEN , CLAUSE .", "CLAUSE , LINK CLAUSE .", "QUESTION ?", "OH , CLAUSE !"],
    "CLAUSE": ["SUBJECT_S ACT_S", "SUBJECT_S ACT_S", "SUBJECT_P ACT_P"],
    "SUBJECT_S": ["NOUN_S", "NOUN_S", "NOUN_S WHERE", "NOUN_S who ACT_S"],
    "SUBJECT_P": ["NOUN_P", "NOUN_P", "NOUN_P WHERE", "NOUN_P who ACT_P"],
    "NOUN_S": ["ONE ANIMAL", "ONE MOOD ANIMAL", "my MOOD ANIMAL"],
    "NOUN_P": ["MANY ANIMALs", "MANY MOOD ANIMALs", "NOUN_S and NOUN_S"],
    "ACT_S": ["DOs", "DOs WHERE", "DOs HOW", "TAKEs THING", "TAKEs THING WHERE", "says that NOUN_P DO", "is MOOD"],
    "ACT_P": ["DO", "DO WHERE", "DO HOW", "TAKE THING", "TAKE THING WHERE", "say that NOUN_S DOs", "are MOOD"],
    "QUESTION": ["why does NOUN_S DO", "why do NOUN_P DO", "where does NOUN_S TAKE THING", "who TAKEs THING WHERE"],
    "WHEN": ["at night", "in spring", "when NOUN_S DOs", "when NOUN_P DO", "after the rain", "every morning"],
    "LINK": ["and", "but", "while", "because"],
    "WHERE": ["PLACE PART", "PLACE PART", "far from PART"],
    "PLACE": ["in", "under", "behind", "near"],
    "PART": ["the forest", "the old house", "the moon", "the river", "a green hill", "the garden", "a tall tree"],
    "HOW": ["slowly", "with great care", "without a sound", "again and again", "all day"],
    "THING": ["a song", "the honey", "a red hat", "two golden coins", "the last apple", "a letter", "some tea"],
    "ONE": ["a", "the", "every", "one"],
    "MANY": ["the", "some", "three", "many"],
    "MOOD": ["small", "clever", "sleepy", "brave", "lonely", "hungry", "happy", "grey"],
    "ANIMAL": ["fox", "bear", "frog", "mole", "cat", "hen", "hare", "goat", "snail"],
    "ANIMALs": ["foxes", "bears", "frogs", "moles", "cats", "hens", "hares", "goats", "snails"],
    "DO": ["sing", "sleep", "dance", "dream", "wait", "laugh", "hide"],
    "DOs": ["sings", "sleeps", "dances", "dreams", "waits", "laughs", "hides"],
    "TAKE": ["find", "steal", "keep", "bring", "want"],
    "TAKEs": ["finds", "steals", "keeps", "brings", "wants"],
    "OH": ["oh", "look", "alas"],
}


def sentences(count: int) -> list[str]:
    """Return ``count`` different sentences, always the same: words, and , . ? ! between blanks."""
    draw, texts = random.Random(0), {}
    while len(texts) < count:
        texts[" ".join(_expand("SENTENCE", draw))] = None
    return list(texts)


def is_sentence(text: str) -> bool:
    """Whether the grammar makes a text."""
    return _pattern().fullmatch(text) is not None


def _expand(part: str, draw: random.Random) -> list[str]:
    if part not in GRAMMAR:
        return [part]
    chosen = GRAMMAR[part][int(draw.random() * len(GRAMMAR[part]))]
    return [word for inner in chosen.split() for word in _expand(inner, draw)]


@cache
def _pattern() -> re.Pattern[str]:
    """Return one expression for the whole language, which is finite."""

    @cache
    def expression(part: str) -> str:
        if part not in GRAMMAR:
            return re.escape(part)
        alternatives = dict.fromkeys(" ".join(map(expression, each.split())) for each in GRAMMAR[part])
        return f"(?:{'|'.join(alternatives)})"

    return re.compile(expression("SENTENCE"))
