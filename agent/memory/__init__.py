"""Memories, one model in each file, and the mixture of their probabilities with the learner's."""

from agent.memory.cache import CacheMemory as CacheMemory
from agent.memory.knn import KnnMemory as KnnMemory
from agent.memory.logistic import LogisticMemory as LogisticMemory
from agent.memory.mixture import LinearMixing as LinearMixing
from agent.memory.ncm import NcmMemory as NcmMemory
from agent.memory.protocol import Memory as Memory
from agent.memory.protocol import ReadOut as ReadOut
from agent.memory.protocol import Rekeyable as Rekeyable
from agent.memory.registry import MEMORIES as MEMORIES
from agent.memory.residual import ResidualMemory as ResidualMemory
from agent.memory.ridge import RidgeMemory as RidgeMemory
from agent.memory.slda import SldaMemory as SldaMemory
