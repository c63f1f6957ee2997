"""Which scores may be compared: those that were computed by the same protocol."""

from collections.abc import Mapping, Sequence

from sparring.evaluation import protocol


def group(protocols: Sequence[dict | None]) -> tuple[list[str], dict[str, dict]]:
    """Group protocols whose scores may be compared.

    Returns:
        A letter for each protocol, A for those of the largest group, empty for None; and one protocol of each group.
    """
    groups: list[list[int]] = []
    for i, one in enumerate(protocols):
        if one is not None:
            alike = next((members for members in groups if not differences(one, protocols[members[0]] or {})), None)
            groups.append([i]) if alike is None else alike.append(i)
    groups.sort(key=len, reverse=True)
    letters, first = [""] * len(protocols), {}
    for n, members in enumerate(groups):
        letter = chr(ord("A") + n) if n < 26 else f"A{n}"
        first[letter] = protocols[members[0]]
        for i in members:
            letters[i] = letter
    return letters, first


def differences(one: dict, other: dict) -> list[str]:
    """Return in words what keeps scores of two protocols from being compared; empty if nothing does."""
    if not protocol.differences(one, other):
        own, reference = one.get("real_key"), other.get("real_key")
        text = f"real images {own}, not {reference} (other images of that name, or the same in another folder)"
        return [text] if own != reference else []
    first, second = _decisive(one), _decisive(other)
    differing = [key for key in first | second if first.get(key) != second.get(key)]
    return [f"{key} {first.get(key, 'none')}, not {second.get(key, 'none')}" for key in differing]


def _decisive(facts: dict) -> dict:
    flat = {key: facts[key] for key in protocol.DECISIVE if key in facts and key != "metrics"}
    flat |= {f"{name}'s {key}": v for name, settings in facts["metrics"].items() for key, v in settings.items()}
    return {key.replace("_", " "): value for key, value in flat.items()}


def describe(protocols: Mapping[str, dict]) -> dict[str, str]:
    """Return what scores were computed from, a line for each letter, no two alike."""
    lines: dict[str, str] = {}
    for letter, facts in protocols.items():
        twin = next((other for other in lines if _words(protocols[other]) == _words(facts)), None)
        lines[letter] = _words(facts) + (f" ({'; '.join(differences(facts, protocols[twin]))})" if twin else "")
    return lines


def _words(p: dict) -> str:
    kind = f"answers to {p['of']}" if "of" in p else "samples"
    source = p["fakes"] if "ema" not in p else f"the {'averaged' if p['ema'] else 'raw'} generator"
    split = f", split {p['split']}" if p.get("split") else ""
    words = [f"{p['samples']:,} {kind} of {source}"]
    if str(p.get("checkpoint", "")).startswith("best_by_"):
        words.append("at a checkpoint chosen by its score")
    words.append(f"compared with {p['reals']:,} of {p['reals_available']:,} reals ({p['real_images']}{split})")
    if p["extractor"] != "none":
        words.append(f"features of {p['extractor']}")
    return ", ".join(words)
