"""Mult-VAE: a variational autoencoder with a multinomial likelihood (Liang et al., WWW 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from nnrec.core.errors import ConfigError
from nnrec.models.autoencoders.autoencoder import Autoencoder, Input
from nnrec.models.autoencoders.mult_dae import GLOROT
from nnrec.models.layers.network import Layer, Network


class MultVAE(Autoencoder):
    """Mult-VAE on sparse rows.

    Paper: Liang, Krishnan, Hoffman, Jebara: Variational Autoencoders for Collaborative Filtering, 2018,
    equations 2, 4 and 5.

    In: batches of sparse rows, users over items; liked items enter as 1, divided by the Euclidean length of
    the row; in training each is hidden with probability `denoising`. Out: (E,) float32, logits of the entries.
    Scoring: (B, num_items) logits from the mean of the user's Gaussian.
    Loss: the mean over the rows of -sum over the liked items of ln softmax(logits) + beta KL(q(z | x) || N(0, I)),
    plus l2 / (2 * num_rows) |weights|^2. beta rises linearly from 0 to `kl_weight` over the first
    `annealing_steps` steps, and is constant from then on.

    Differs: hidden inputs and Gaussian draws are determined by hashes; the penalty is divided by the number of
    rows.

    Args:
        num_users, num_items: sizes of the data.
        hidden_units: sizes of the encoder's hidden layers, the first one next to the items; the decoder has
            the same in reverse order. [600] is the paper's [I -> 600 -> 200 -> 600 -> I].
        latent_units: size of z.
        activation: activation of the hidden layers.
        denoising: probability of hiding an input in training.
        kl_weight: final value of beta.
        annealing_steps: number of steps until beta reaches it.
        input, length_discount, l2, relevant, sampled, sampling_power: see `Autoencoder`. The paper has `input`
            "indicator" and `length_discount` 0.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        hidden_units: Sequence[int] = (600,),
        latent_units: int = 200,
        activation: str = "tanh",
        denoising: float = 0.5,
        kl_weight: float = 0.2,
        annealing_steps: int = 1000,
        input: Input = "indicator",
        length_discount: float = 0.0,
        l2: float = 0.0,
        relevant: float | None = None,
        sampled: int | None = None,
        sampling_power: float = 0.5,
        name: str = "mult_vae",
    ) -> None:
        if kl_weight < 0 or annealing_steps < 1:
            raise ConfigError(
                "model.kl_weight must not be negative, and model.annealing_steps at least 1. "
                f"Received: {kl_weight} and {annealing_steps}"
            )
        sizes = (*hidden_units, latent_units, *reversed(tuple(hidden_units)))
        names = ["input", *(f"hidden_{number}" for number in range(1, len(sizes) + 1))]
        middle = len(hidden_units)
        layers = tuple(
            Layer(name, units, (source,), activation=activation, weights=GLOROT)
            if number != middle
            else Layer(name, units, (source,), activation="linear", weights=GLOROT, variational=True)
            for number, (source, name, units) in enumerate(zip(names, names[1:], sizes, strict=False))
        )
        output = Layer("output", None, (names[-1],), activation="softmax", weights=GLOROT)
        network = Network(layers, output, "multinomial", denoising=denoising, input="input")
        network.check("model")
        shared: dict[str, Any] = {
            "input": input, "length_discount": length_discount, "l2": l2, "relevant": relevant, "sampled": sampled,
            "sampling_power": sampling_power, "name": name,
        }  # fmt: skip
        super().__init__(num_users, num_items, network, normalize_input=True, **shared)
        self.final_kl_weight, self.annealing_steps = kl_weight, annealing_steps
        own: dict[str, Any] = {
            "hidden_units": tuple(hidden_units),
            "latent_units": latent_units,
            "activation": activation,
        }
        own |= {"denoising": denoising, "kl_weight": kl_weight, "annealing_steps": annealing_steps}
        self.settings = own | shared

    def get_config(self) -> dict[str, Any]:
        return {"num_users": self.num_users, "num_items": self.num_items, **self.settings}

    def kl_weight(self) -> Any:
        return self.final_kl_weight * ops.minimum(self.steps / self.annealing_steps, 1.0)
