/** Everything that may happen next in a world. A new kind of choice is a row here. */
import { assert } from '../../src/base/assert.ts';
import type { Member } from '../../src/base/membership.ts';
import { activeConfiguration, isJoint, membershipBlock, votersOf } from '../../src/raft/index.ts';
import { compactionTargets, compactLog, installableFrom, installSnapshot } from './snapshots.ts';
import {
  crash,
  deliver,
  give,
  sync,
  type BudgetKind,
  type Explored,
  type ExploredReplica,
  type World,
} from './world.ts';

/** One thing that may happen. */
export interface Choice {
  readonly name: string;
  /** The world behind it; throws where a promise is broken. */
  readonly run: () => World;
}

/** Member lists that operators may ask for. */
export type Wishes = readonly (readonly Member[])[];

const farAway = 2_000_000;

/** The choices of a world, in a fixed order. */
export function choicesOf(world: World, explored: Explored, wishes: Wishes): Choice[] {
  const choices: Choice[] = [];
  messages(world, explored, choices);
  for (const [at, replica] of world.replicas.entries()) {
    const name = `replica ${replica.core.selfReplica}`;
    if (replica.queue.length > 0)
      choices.push({ name: `${name} syncs`, run: () => sync(world, explored, at) });
    if (replica.core.role === 'leader') ofLeader(world, explored, { at, replica, wishes, choices });
    else if (world.budgets.campaign > 0)
      choices.push({
        name: `${name} times out`,
        run: () => give(spend(world, 'campaign'), explored, at, { kind: 'tick' }, farAway),
      });
    if (world.budgets.crash > 0)
      choices.push({
        name: `${name} crashes`,
        run: () => crash(spend(world, 'crash'), at),
      });
    ofSnapshots(world, explored, { at, replica, choices });
  }
  return choices;
}

function messages(world: World, explored: Explored, choices: Choice[]): void {
  const seen = new Set<string>();
  for (const [at, { to, message }] of world.packets.entries()) {
    // A connection keeps the order of what it carries; what is sent twice comes a second time behind everything else.
    const connection = `${message.fromReplica}>${to}`;
    if (seen.has(connection)) continue;
    seen.add(connection);
    const name = `${message.kind} of ${message.fromReplica}, term ${message.term}, to ${to}`;
    choices.push({ name, run: () => deliver(world, explored, at, false) });
    if (world.budgets.duplicate > 0)
      choices.push({
        name: `${name}, and once more later`,
        run: () => deliver(spend(world, 'duplicate'), explored, at, true),
      });
    if (world.budgets.loss > 0)
      choices.push({
        name: `${name} is lost`,
        run: () => ({
          ...spend(world, 'loss'),
          packets: world.packets.filter((_packet, position) => position !== at),
        }),
      });
  }
}

function ofSnapshots(
  world: World,
  explored: Explored,
  around: { readonly at: number; readonly replica: ExploredReplica; readonly choices: Choice[] },
): void {
  const { at, replica, choices } = around;
  const name = `replica ${replica.core.selfReplica}`;
  for (const target of world.budgets.compact > 0 ? compactionTargets(replica.core) : [])
    choices.push({
      name: `${name} takes a snapshot and drops its log up to ${target}`,
      run: () => compactLog(spend(world, 'compact'), explored, at, target),
    });
  for (const source of world.budgets.install > 0 ? world.replicas : []) {
    const snapshot = installableFrom(replica, source);
    if (snapshot === undefined) continue;
    choices.push({
      name: `${name} installs the snapshot of ${source.core.selfReplica} at ${snapshot.index}`,
      run: () => installSnapshot(spend(world, 'install'), explored, at, snapshot),
    });
  }
}

function ofLeader(
  world: World,
  explored: Explored,
  leading: {
    readonly at: number;
    readonly replica: ExploredReplica;
    readonly wishes: Wishes;
    readonly choices: Choice[];
  },
): void {
  const { at, replica, wishes, choices } = leading;
  const { core } = replica;
  const { budgets } = world;
  const name = `leader ${core.selfReplica}`;
  const add = (kind: BudgetKind, what: string, run: (next: World) => World): void => {
    if (budgets[kind] > 0)
      choices.push({ name: `${name} ${what}`, run: () => run(spend(world, kind)) });
  };
  add('heartbeat', 'sends a heartbeat', (next) => give(next, explored, at, { kind: 'tick' }));
  // Long silence: check-quorum ends the reign unless it stands alone.
  add('quit', 'hears nobody', (next) => give(next, explored, at, { kind: 'tick' }, farAway));
  if (core.leader?.transfer === undefined)
    add('proposal', 'proposes', (next) => give(next, explored, at, { kind: 'propose', count: 1 }));
  add('read', 'is asked to read', (next) => {
    const readId = budgets.read;
    const promises = next.promises.withRead(readId);
    return give({ ...next, promises }, explored, at, { kind: 'readIndex', readId });
  });
  const active = activeConfiguration(core);
  if (isJoint(active) && core.leader?.joint?.rollbackReason === undefined)
    add('rollback', 'is told to go back', (next) =>
      give(next, explored, at, { kind: 'rollBack', reason: 'a wish' }),
    );
  if (membershipBlock(core) === undefined) {
    for (const [number, members] of wishes.entries())
      add('change', `is asked for members ${number}`, (next) =>
        give(next, explored, at, { kind: 'changeConfiguration', members }),
      );
  }
  if (core.leader?.transfer !== undefined) return;
  for (const voter of votersOf(active.members)) {
    if (voter.replicaId === core.selfReplica) continue;
    add('transfer', `hands over to ${voter.replicaId}`, (next) => {
      explored.marks.add('handedOver');
      return give(next, explored, at, { kind: 'transferLeadership', to: voter, reason: '' });
    });
  }
}

function spend(world: World, kind: BudgetKind): World {
  const left = world.budgets[kind];
  assert(left > 0, 'a choice is within its budget');
  return { ...world, budgets: { ...world.budgets, [kind]: left - 1 } };
}
