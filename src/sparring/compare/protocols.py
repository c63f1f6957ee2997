"""Which scores may be compared: those of one kind, which were computed from the same."""

from collections.abc import Sequence

from sparring.evaluation import protocol


def kinds(protocols: Sequence[dict | None]) -> tuple[list[str], dict[str, dict]]:
    """A letter for each protocol, A for those of the most usual kind, empty for None; and one protocol of each kind."""
    found: list[list[int]] = []
    for i, one in enumerate(protocols):
        if one is not None:
            alike = next((kind for kind in found if not differences(one, protocols[kind[0]])), None)
            found.append([i]) if alike is None else alike.append(i)
    found.sort(key=len, reverse=True)
    names = [chr(ord("A") + n) if n < 26 else f"A{n}" for n in range(len(found))]
    letters = {i: name for name, kind in zip(names, found, strict=True) for i in kind}
    firsts = {name: protocols[kind[0]] for name, kind in zip(names, found, strict=True)}
    return [letters.get(i, "") for i in range(len(protocols))], firsts


def differences(one: dict, other: dict) -> list[str]:
    """What keeps numbers of two protocols from being compared, in words; empty if nothing does."""
    if not protocol.differences(one, other):
        here, there = one.get("real_key"), other.get("real_key")
        moved = f"real images {here}, not {there} (others of that name, or the same in another place)"
        return [moved] if here != there else []
    first, second = _decisive(one), _decisive(other)
    differing = [key for key in first | second if first.get(key) != second.get(key)]
    return [f"{key} {first.get(key, 'none')}, not {second.get(key, 'none')}" for key in differing]


def _decisive(facts: dict) -> dict:
    flat = {key.replace("_", " "): facts[key] for key in protocol.DECISIVE if key in facts and key != "metrics"}
    inner = {f"{name}'s {key}": v for name, kept in facts["metrics"].items() for key, v in kept.items()}
    return flat | {key.replace("_", " "): value for key, value in inner.items()}


def described(protocols: dict[str, dict]) -> dict[str, str]:
    """What scores were computed from, a line for each letter, no two alike."""
    said: dict[str, str] = {}
    for letter, facts in protocols.items():
        twin = next((other for other in said if _words(protocols[other]) == _words(facts)), None)
        apart = f" ({'; '.join(differences(facts, protocols[twin]))})" if twin else ""
        said[letter] = _words(facts) + apart
    return said


def _words(p: dict) -> str:
    kind = f"answers to {p['of']}" if "of" in p else "samples"
    of = p["fakes"] if "ema" not in p else f"the {'averaged' if p['ema'] else 'raw'} generator"
    chosen = str(p.get("checkpoint", "")).startswith("best_by_")
    said = [f"{p['samples']:,} {kind} of {of}" + ", at a checkpoint chosen by its score" * chosen]
    split = f", split {p['split']}" if p.get("split") else ""
    said.append(f"beside {p['reals']:,} of {p['reals_available']:,} reals ({p['real_images']}{split})")
    said += [f"features of {p['extractor']}"] if p["extractor"] != "none" else []
    return ", ".join(said)
