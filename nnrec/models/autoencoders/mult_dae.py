"""Mult-DAE: a denoising autoencoder with a multinomial likelihood (Liang et al., WWW 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrec.models.autoencoders.autoencoder import Autoencoder, Input
from nnrec.models.layers.network import Layer, Network, Weights

GLOROT = Weights("glorot")


class MultDAE(Autoencoder):
    """Mult-DAE on sparse rows.

    Paper: Liang, Krishnan, Hoffman, Jebara: Variational Autoencoders for Collaborative Filtering, 2018,
    equation 2 and section 2.3.

    In: batches of sparse rows, users over items; liked items enter as 1, divided by the Euclidean length of
    the row; in training each is hidden with probability `denoising`. Out: (E,) float32, logits of the entries.
    Scoring: (B, num_items) logits.
    Loss: the mean over the rows of -sum over the liked items of ln softmax(logits), plus
    l2 / (2 * num_rows) |weights|^2.

    Differs: the inputs to hide in training are chosen by hashes; the penalty is divided by the number of rows,
    so that its weight does not depend on the batch size.

    Args:
        num_users, num_items: sizes of the data.
        hidden_units: sizes of the hidden layers; [200] is the paper's [I -> 200 -> I].
        activation: activation of the hidden layers.
        denoising: probability of hiding an input in training.
        dropout: probability of dropping a hidden unit in training.
        input, length_discount, l2, relevant, sampled, sampling_power: see `Autoencoder`. The paper has `input`
            "indicator" and `length_discount` 0.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        hidden_units: Sequence[int] = (200,),
        activation: str = "tanh",
        denoising: float = 0.5,
        dropout: float = 0.0,
        input: Input = "indicator",
        length_discount: float = 0.0,
        l2: float = 0.0,
        relevant: float | None = None,
        sampled: int | None = None,
        sampling_power: float = 0.5,
        name: str = "mult_dae",
    ) -> None:
        names = [f"hidden_{number}" for number in range(1, len(hidden_units) + 1)]
        hidden = tuple(
            Layer(name, units, (source,), activation=activation, dropout=dropout, weights=GLOROT)
            for name, units, source in zip(names, hidden_units, ["input", *names], strict=False)
        )
        output = Layer("output", None, (["input", *names][-1],), activation="softmax", weights=GLOROT)
        network = Network(hidden, output, "multinomial", denoising=denoising, input="input")
        network.check("model")
        shared: dict[str, Any] = {
            "input": input, "length_discount": length_discount, "l2": l2, "relevant": relevant, "sampled": sampled,
            "sampling_power": sampling_power, "name": name,
        }  # fmt: skip
        super().__init__(num_users, num_items, network, normalize_input=True, **shared)
        own: dict[str, Any] = {"hidden_units": tuple(hidden_units), "activation": activation, "denoising": denoising}
        self.settings = own | {"dropout": dropout, **shared}

    def get_config(self) -> dict[str, Any]:
        return {"num_users": self.num_users, "num_items": self.num_items, **self.settings}
