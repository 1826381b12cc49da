"""How the variables of a state lie in 64-bit words: as few bits each as its range needs, never across two words."""

from dataclasses import dataclass

from holdfast_model.errors import HoldfastError
from holdfast_model.spec.model import Model, State

WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class PackedField:
    """One variable's place: `word`, `shift` and `bits`; it is stored as its distance from `least`."""

    word: int
    shift: int
    bits: int
    least: int
    greatest: int

    @property
    def mask(self) -> int:
        """The bits of the word that belong to the field."""
        return ((1 << self.bits) - 1) << self.shift


@dataclass(frozen=True, slots=True)
class Packing:
    """The places of all variables of a model. Equal words mean equal states: keys made of all words are exact."""

    fields: tuple[PackedField, ...]
    words: int

    def pack(self, state: State) -> tuple[int, ...]:
        """The words of a state whose values are all within range."""
        words = [0] * self.words
        for place, value in zip(self.fields, state, strict=True):
            assert place.least <= value <= place.greatest
            words[place.word] |= (value - place.least) << place.shift
        return tuple(words)

    def unpack(self, words: tuple[int, ...]) -> State:
        """The state that these words stand for."""
        return tuple(((words[p.word] & p.mask) >> p.shift) + p.least for p in self.fields)


def packing_of(model: Model) -> Packing:
    """The packing of a model whose variables all have finite ranges; HoldfastError where one has not.

    Records are kept within one word where that costs no further word: copying one then is a shift and a mask.
    """
    ranges: list[tuple[str, int, int]] = []
    for variable in model.variables:
        if variable.least is None or variable.greatest is None:
            raise HoldfastError(
                f"{variable.declared_at}: `{variable.name}` has no finite range; "
                f"to explore {model.name} it needs one, such as Nat.upto(5) or Int.between(-5, 5)"
            )
        if variable.greatest - variable.least >= 1 << (WORD_BITS - 2):
            raise HoldfastError(f"{variable.declared_at}: the range of `{variable.name}` does not fit in a word")
        ranges.append((variable.name.rpartition(".")[0], variable.least, variable.greatest))
    plain, together = _placed(ranges, together=False), _placed(ranges, together=True)
    return together if together.words <= plain.words else plain


def _placed(ranges: list[tuple[str, int, int]], *, together: bool) -> Packing:
    bits = [max(1, (greatest - least).bit_length()) for _, least, greatest in ranges]
    fields: list[PackedField] = []
    word = shift = 0
    for at, (group, least, greatest) in enumerate(ranges):
        needed = bits[at]
        if together and group and (at == 0 or ranges[at - 1][0] != group):
            size = 0
            for other, width in zip(ranges[at:], bits[at:], strict=True):
                if other[0] != group:
                    break
                size += width
            needed = max(needed, min(size, WORD_BITS))
        if shift + needed > WORD_BITS:
            word, shift = word + 1, 0
        fields.append(PackedField(word, shift, bits[at], least, greatest))
        shift += bits[at]
    return Packing(tuple(fields), word + 1)
