"""Dumps tests/fixtures/mmengine/starnet_yolov5.py as JSON and as Python, with mmengine (0.10.7) from PyPI."""
import pathlib

from mmengine import Config

folder = pathlib.Path(__file__).parents[2] / 'fixtures/mmengine'
config = Config.fromfile(folder / 'starnet_yolov5.py')
config.dump(folder / 'starnet_yolov5_dumped.json')
config.dump(folder / 'starnet_yolov5_dumped.py')
