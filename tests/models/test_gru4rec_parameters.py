"""The authors' settings, in their formats."""

from __future__ import annotations

import pytest

from nnrec.core.errors import ConfigError
from nnrec.models.sessions.gru4rec_parameters import settings

STRING = (
    "loss=bpr-max,constrained_embedding=True,embedding=0,elu_param=0.5,layers=224/100,n_epochs=7,batch_size=80,"
    "dropout_p_embed=0.5,dropout_p_hidden=0.05,learning_rate=0.05,momentum=0.4,n_sample=1024,sample_alpha=0.4,"
    "bpreg=1.95,logq=0.0"
)
FILE = """
from collections import OrderedDict
gru4rec_params = OrderedDict([
('loss', 'bpr-max'), ('constrained_embedding', True), ('embedding', 0), ('elu_param', 0.5), ('layers', [224, 100]),
('n_epochs', 7), ('batch_size', 80), ('dropout_p_embed', 0.5), ('dropout_p_hidden', 0.05), ('learning_rate', 0.05),
('momentum', 0.4), ('n_sample', 1024), ('sample_alpha', 0.4), ('bpreg', 1.95), ('logq', 0.0)
])
"""
MODEL = {
    "loss": "bpr-max", "constrained_embedding": True, "embedding": 0, "elu_param": 0.5, "hidden_units": (224, 100),
    "dropout_p_embed": 0.5, "dropout_p_hidden": 0.05, "n_sample": 1024, "sample_alpha": 0.4, "bpreg": 1.95, "logq": 0.0,
}  # fmt: skip
TRAINER = {
    "optimizer": "adagrad", "optimizer_options": {"momentum": 0.4}, "batch_size": 80, "learning_rate": 0.05,
    "epochs": 7, "schedule": {"_target_": "nnrec.training.Constant"},
}  # fmt: skip


def test_a_string(tmp_path):
    assert settings(STRING) == {"model": MODEL, "trainer": TRAINER}


def test_a_file_and_its_content(tmp_path):
    path = tmp_path / "params.py"
    path.write_text(FILE)
    assert settings(str(path)) == settings(FILE) == {"model": MODEL, "trainer": TRAINER}


def test_what_is_left_out_is_as_in_their_program():
    made = settings("layers=200,constrained_embedding=False,embedding=layersize")
    assert made["model"]["embedding"] == 200 and made["model"]["n_sample"] == 2048 and made["model"]["logq"] == 0
    assert made["trainer"]["learning_rate"] == 0.05 and made["trainer"]["batch_size"] == 64


def test_the_older_programs_final_activation():
    assert settings("loss=bpr-max,final_act=elu-1.5")["model"]["elu_param"] == 1.5
    assert settings("loss=bpr-max,final_act=linear,hidden_act=tanh,adapt=adagrad")["model"]["elu_param"] == 0


def test_nothing_in_a_file_is_executed(tmp_path):
    path, trace = tmp_path / "params.py", tmp_path / "trace"
    path.write_text(f"open({str(trace)!r}, 'w')\n" + FILE)
    settings(str(path))
    assert not trace.exists()
    path.write_text(f"gru4rec_params = dict([('layers', open({str(trace)!r}, 'w'))])")
    with pytest.raises(ConfigError, match="is not a plain OrderedDict"):
        settings(str(path))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer=100", "there is no 'layer'. Did you mean layers\\?"),
        ("batchsize=3", "Did you mean batch_size\\?"),
        ("n_sample=many", "n_sample cannot be 'many'"),
        ("n_sample=1.5", "It is not an integer"),
        ("constrained_embedding=yes", "Write True or False"),
        ("layers=100,momentum", "expected name=value.*Received: 'momentum'"),
        ("adapt=adam", "adapt can only be adagrad here"),
        ("no_such_file.py", "neither a file that can be read nor name=value"),
        ("gru4rec_params = [", "not a plain OrderedDict"),
        ("x = 'gru4rec_params'", "assigns nothing to gru4rec_params"),
    ],
)
def test_what_cannot_be_read_is_told(text, message):
    with pytest.raises(ConfigError, match=message):
        settings(text)
