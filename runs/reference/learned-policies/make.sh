#!/usr/bin/env bash
# Makes what this folder shows, in runs/ of the folder that it is called from, which holds cifar10-jpeg/ (train/<class>/,
# test/<class>/). About two hours on two cores; whatever is there already is not made again.
set -euo pipefail

lifetime tree --quiet --seeds 12 --name iid
lifetime tree --quiet --seeds 12 --name drift --scenario drift --chunks 6 --train-size 900
lifetime tree --quiet --seeds 12 --name recurring --scenario recurring:experiences=3 --chunks 6 --train-size 900
lifetime tree --quiet --seeds 12 --name cifar10 --preset cifar10 --dataset folder:cifar10-jpeg --cost-weight 0.0005

night=day-night:period=4,day=2,night=0.2
walk=random-walk:sigma=0.5
methods="cma-nothing cma-learner cma-memory reinforce-learner ppo-learner forecast-learner"

# Trains policies on the first four trees of a run, and evaluates them on the other eight.
column() { # name of the column, trees, tariff, cost weight
  policies=
  for each in $methods; do
    lifetime train-policy --quiet --name "$1-$each" --method "${each%-*}" --observes "${each#*-}" \
      --trees "runs/tree/$2" --tariff "$3" --cost-weight "$4"
    policies="$policies file:runs/train-policy/$1-$each/policy.json"
  done
  lifetime evaluate "runs/tree/$2" --quiet --name "$1" --tariff "$3" --cost-weight "$4" --policies "$policies"
}
column iid-constant iid constant 0.004
column iid-day-night iid $night 0.004
column iid-random-walk iid $walk 0.004
column drift-constant drift constant 0.004
column drift-random-walk drift $walk 0.004
column recurring-constant recurring constant 0.004
column recurring-random-walk recurring $walk 0.004
column cifar10-day-night cifar10 $night 0.0005

# Transfer: the policies of two columns under other tariffs, on other data, and in longer streams.
trained() { for each in $methods; do printf ' file:runs/train-policy/%s-%s/policy.json' "$1" "$each"; done; }
both="$(trained iid-day-night) $(trained iid-random-walk)"
for tariff in constant day-night $night $walk; do
  name=transfer-$(tr ':=,' '----' <<<"$tariff")
  lifetime evaluate runs/tree/iid --quiet --name "$name" --tariff "$tariff" --policies "$both"
done
lifetime evaluate runs/tree/cifar10 --quiet --name transfer-cifar10 --tariff $night --policies "$(trained iid-day-night)"
lifetime compare --quiet --name transfer-24-chunks --chunks 24 --train-size 1200 --validation-size 1000 --recipe sgd:batch=16 \
  --evaluate-every 0 --tariff $night --cost-weight 0.004 --seeds 8 --first-seed 4 --policies \
  "file:runs/train-policy/iid-day-night-cma-nothing/policy.json \
   static:k=0 static:k=25 static:k=50 static:k=75 static:k=100 interleaved:k=50 tariff"
