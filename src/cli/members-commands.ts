/**
 * `clustor members …` and `clustor transfer-leader`: changes of membership and leadership, with what goes on while they run.
 *
 * Each command names a state that is wanted and asks the leader for the next step towards it until it is reached. So it goes
 * on over a change of leader, and repeating it is harmless.
 */
import type { AdminClient } from '../admin/admin-client.ts';
import { ClustorError, isClustorError } from '../base/errors.ts';
import { connect } from '../client/index.ts';
import { parseCertificateMaterial } from '../platform/certificate-files.ts';
import { choosePartition } from './client-commands.ts';
import { localAddressOf } from './cluster-directory.ts';
import { colours } from './colours.ts';
import { connectionOf, type ConnectionOptions } from './connection.ts';
import { exitCodes } from './exit-codes.ts';
import {
  asUncertain,
  isLeadershipError,
  LeaderSession,
  type PartitionView,
} from './leader-session.ts';
import { membersText, planText, viewText } from './members-text.ts';
import type { Output } from './output.ts';

/** Options that every command here has. */
export interface PartitionOptions extends ConnectionOptions {
  readonly partition?: string;
}

/** Options of commands that change something. */
export interface ChangeOptions extends PartitionOptions {
  readonly dryRun?: boolean;
  readonly domains?: string;
  readonly policy: 'strict' | 'advisory';
  readonly override?: string;
  readonly timeoutS: number;
}

/** Options of `members add`. */
export interface AddOptions extends ChangeOptions {
  readonly node: number;
  readonly address?: string;
  readonly as: 'voter' | 'learner' | 'observer';
}

/** Options of `members replace`. */
export interface ReplaceOptions extends ChangeOptions {
  readonly node: number;
  readonly with: number;
  readonly address?: string;
}

/** A wanted state, and the step towards it. */
interface Goal {
  /** What is done, for people. */
  readonly title: string;
  isReached(view: PartitionView): boolean;
  /** Asks the leader for the next step. */
  step(admin: AdminClient, view: PartitionView): Promise<{ readonly rolledBack: boolean }>;
}

const pollMs = 100;
/** A step is waited for in the call this long; then the state is looked at. */
const stepMs = 2_000;
const waitCodes = [
  'CLUSTOR_MEMBERSHIP_BLOCKED',
  'CLUSTOR_LEARNER_BEHIND',
  'CLUSTOR_DEADLINE_EXCEEDED',
] as const;

/** Shows the members of a partition as its leader sees them. */
export async function runMembersList(options: PartitionOptions, output: Output): Promise<number> {
  return withLeader(options, async (session) => {
    const view = await session.view(Date.now() + 10_000);
    output.result(view, membersText(view));
    return exitCodes.done;
  });
}

/** Adds a node: as a learner first, then, unless it is to stay one, as a voter. */
export async function runMembersAdd(options: AddOptions, output: Output): Promise<number> {
  return withLeader(options, async (session) => {
    const role = options.as === 'observer' ? 'observer' : 'learner';
    const addresses = await addressesOf(session, options, options.node);
    const goal: Goal = {
      title: `node ${options.node} becomes a ${options.as}`,
      isReached: (view) => roleOf(view, options.node) === options.as,
      step: (admin, view) => {
        if (roleOf(view, options.node) === undefined)
          return add(admin, session, { nodeId: options.node, addresses, role });
        if (options.as === 'voter')
          return change(
            admin,
            session,
            changeFields(options, { promote: [options.node], remove: [] }),
          );
        throw new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `node ${options.node} is a ${roleOf(view, options.node) ?? ''} already; remove it first`,
        );
      },
    };
    const promote = options.as === 'voter' ? [options.node] : [];
    return reach(session, goal, { options, output, plan: { promote, remove: [] } });
  });
}

/** Makes a learner a voter. */
export async function runMembersPromote(
  options: ChangeOptions & { readonly node: number },
  output: Output,
): Promise<number> {
  return withLeader(options, (session) => {
    const plan = { promote: [options.node], remove: [] };
    const goal: Goal = {
      title: `node ${options.node} becomes a voter`,
      isReached: (view) => roleOf(view, options.node) === 'voter',
      step: (admin) => change(admin, session, changeFields(options, plan)),
    };
    return reach(session, goal, { options, output, plan });
  });
}

/** Removes the member on a node. */
export async function runMembersRemove(
  options: ChangeOptions & { readonly node: number },
  output: Output,
): Promise<number> {
  return withLeader(options, (session) => {
    const plan = { promote: [], remove: [options.node] };
    const goal: Goal = {
      title: `node ${options.node} leaves`,
      isReached: (view) => roleOf(view, options.node) === undefined,
      step: (admin) => change(admin, session, changeFields(options, plan)),
    };
    return reach(session, goal, { options, output, plan });
  });
}

/** Puts a voter on another node in the place of one, in one joint step. */
export async function runMembersReplace(options: ReplaceOptions, output: Output): Promise<number> {
  return withLeader(options, async (session) => {
    const { node, with: other } = options;
    const addresses = await addressesOf(session, options, other);
    const plan = { promote: [other], remove: [node] };
    const goal: Goal = {
      title: `node ${other} takes the place of node ${node}`,
      isReached: (view) => roleOf(view, other) === 'voter' && roleOf(view, node) === undefined,
      step: (admin, view) =>
        roleOf(view, other) === undefined
          ? add(admin, session, { nodeId: other, addresses, role: 'learner' })
          : change(admin, session, changeFields(options, plan)),
    };
    return reach(session, goal, { options, output, plan });
  });
}

/** Makes any number of learners voters and removes any number of members, in one joint step. */
export async function runMembersChange(
  options: ChangeOptions & { readonly promote?: string; readonly remove?: string },
  output: Output,
): Promise<number> {
  const plan = { promote: nodesOf(options.promote), remove: nodesOf(options.remove) };
  if (plan.promote.length + plan.remove.length === 0)
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'give --promote, --remove or both');
  return withLeader(options, (session) => {
    const goal: Goal = {
      title: [
        ...plan.promote.map((node) => `node ${node} becomes a voter`),
        ...plan.remove.map((node) => `node ${node} leaves`),
      ].join(', '),
      isReached: (view) =>
        plan.promote.every((node) => roleOf(view, node) === 'voter') &&
        plan.remove.every((node) => roleOf(view, node) === undefined),
      step: (admin) => change(admin, session, changeFields(options, plan)),
    };
    return reach(session, goal, { options, output, plan });
  });
}

/** `4,5` as nodes. */
function nodesOf(text: string | undefined): readonly number[] {
  if (text === undefined) return [];
  return text.split(',').map((part) => {
    if (!/^\d+$/.test(part))
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `nodes are numbers separated by commas, got "${text}"`,
      );
    return Number(part);
  });
}

/** Goes back to the voters before the change that is under way. */
export async function runMembersRollback(
  options: PartitionOptions & { readonly reason: string; readonly timeoutS: number },
  output: Output,
): Promise<number> {
  return withLeader(options, async (session) => {
    const untilMs = Date.now() + options.timeoutS * 1000;
    const { partitionId } = session;
    const outcome = await session.ask(untilMs, (admin) =>
      admin.rollBackMembership({
        partitionId,
        reason: options.reason,
        deadlineMs: Math.max(1, Math.min(20_000, untilMs - Date.now())),
      }),
    );
    const { rolledBack: isRolledBack, index } = outcome;
    output.result(
      outcome,
      isRolledBack
        ? `${colours.green('done')} the old voters are in force again, entry ${index}`
        : `${colours.yellow('not done')} the change went through before it could be undone, entry ${index}`,
    );
    return isRolledBack ? exitCodes.done : exitCodes.refused;
  });
}

/** Hands leadership to the voter on a node. */
export async function runTransferLeader(
  options: PartitionOptions & {
    readonly to: number;
    readonly dryRun?: boolean;
    readonly timeoutS: number;
  },
  output: Output,
): Promise<number> {
  return withLeader(options, async (session) => {
    const untilMs = Date.now() + options.timeoutS * 1000;
    const before = await session.view(untilMs);
    const target = before.members.find((member) => member.nodeId === options.to);
    if (target?.role !== 'voter')
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `node ${options.to} holds no voter of this partition`,
      );
    const lackingEntries = before.lastIndex - (target.matchIndex ?? 0);
    const facts = { from: before.leaderNodeId, to: options.to, lackingEntries };
    if (options.dryRun === true) {
      output.result(
        { ...facts, dryRun: true },
        `node ${before.leaderNodeId ?? 0} leads; node ${options.to} lacks ${lackingEntries} entries and would take over`,
      );
      return exitCodes.done;
    }
    const startedMs = performance.now();
    const { partitionId } = session;
    // The first leader alone is asked: the next one has not been told to hand over.
    const { leaderNodeId } = await onceOldEnough(untilMs, () =>
      session.ask(untilMs, (admin) =>
        admin.transferLeadership({ partitionId, toNodeId: BigInt(options.to), deadlineMs: 10_000 }),
      ),
    );
    const tookMs = Math.round(performance.now() - startedMs);
    output.result(
      { ...facts, leaderNodeId, tookMs },
      `${colours.green('done')} node ${leaderNodeId} leads, after ${tookMs} ms`,
    );
    return leaderNodeId === options.to ? exitCodes.done : exitCodes.refused;
  });
}

/** Asks again while the leader is too new to hand over; that lasts less than a second. */
async function onceOldEnough<T>(untilMs: number, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isClustorError(error, 'CLUSTOR_LEADER_TOO_NEW') || Date.now() >= untilMs) throw error;
      await new Promise((wake) => setTimeout(wake, pollMs));
    }
  }
}

/** Asks for steps until the goal is reached, showing what goes on. */
async function reach(
  session: LeaderSession,
  goal: Goal,
  run: {
    readonly options: ChangeOptions;
    readonly output: Output;
    readonly plan: { readonly promote: readonly number[]; readonly remove: readonly number[] };
  },
): Promise<number> {
  const { options, output } = run;
  const startedMs = Date.now();
  const untilMs = startedMs + options.timeoutS * 1000;
  if (options.dryRun === true) return dryRun(session, run);
  let wasJoint = false;
  let lastError: ClustorError | undefined;
  let isUncertain = false;
  for (;;) {
    const view = await session.view(untilMs);
    const isSettled = view.joint === undefined && view.configurationCommitted;
    if (isSettled && goal.isReached(view)) {
      const tookMs = Date.now() - startedMs;
      output.result(
        { ...view, tookMs },
        `${colours.green('done')} ${goal.title}, after ${tookMs} ms\n${membersText(view)}`,
      );
      return exitCodes.done;
    }
    if (Date.now() >= untilMs) {
      const error = lastError ?? timedOut(goal, options);
      throw isUncertain ? asUncertain(error) : error;
    }
    output.progress(viewText(goal.title, view));
    if (isSettled) {
      if (wasJoint) throw rolledBack(goal);
      lastError = await tryStep(session, goal, view);
      isUncertain ||= lastError?.outcome === 'unknown';
    }
    wasJoint = view.joint !== undefined;
    await new Promise((wake) => setTimeout(wake, pollMs));
  }
}

/** Asks for a step; returns why it has to be asked for again, if so. */
async function tryStep(
  session: LeaderSession,
  goal: Goal,
  view: PartitionView,
): Promise<ClustorError | undefined> {
  try {
    const { rolledBack: isRolledBack } = await session.ask(Date.now(), (admin) =>
      goal.step(admin, view),
    );
    if (isRolledBack) throw rolledBack(goal);
    return undefined;
  } catch (error) {
    const isWaiting =
      isLeadershipError(error) || waitCodes.some((code) => isClustorError(error, code));
    if (isWaiting && isClustorError(error)) return error;
    throw error;
  }
}

async function dryRun(
  session: LeaderSession,
  run: {
    readonly options: ChangeOptions;
    readonly output: Output;
    readonly plan: { readonly promote: readonly number[]; readonly remove: readonly number[] };
  },
): Promise<number> {
  const { options, output, plan } = run;
  const answer = await session.ask(Date.now() + 10_000, (admin) =>
    admin.planVoters({ partitionId: session.partitionId, ...changeFields(options, plan) }),
  );
  output.result({ ...answer, dryRun: true }, planText(answer));
  return answer.verdict === 'refused' ? exitCodes.refused : exitCodes.done;
}

async function add(
  admin: AdminClient,
  session: LeaderSession,
  member: {
    readonly nodeId: number;
    readonly addresses: readonly string[];
    readonly role: 'learner' | 'observer';
  },
): Promise<{ readonly rolledBack: boolean }> {
  return admin.addMember({
    partitionId: session.partitionId,
    nodeId: BigInt(member.nodeId),
    addresses: [...member.addresses],
    role: member.role,
    deadlineMs: 3 * stepMs,
  });
}

function change(
  admin: AdminClient,
  session: LeaderSession,
  fields: ReturnType<typeof changeFields>,
): Promise<{ readonly rolledBack: boolean }> {
  return admin.changeVoters({
    partitionId: session.partitionId,
    ...fields,
    deadlineMs: stepMs,
  });
}

function changeFields(
  options: ChangeOptions,
  plan: { readonly promote: readonly number[]; readonly remove: readonly number[] },
): {
  readonly promote: bigint[];
  readonly remove: bigint[];
  readonly domains: Record<string, string>;
  readonly policy: string;
  readonly overrideRef: string;
} {
  return {
    promote: plan.promote.map(BigInt),
    remove: plan.remove.map(BigInt),
    domains: domainsOf(options.domains),
    policy: options.policy,
    overrideRef: options.override ?? '',
  };
}

/** `1=east,2=east,3=west` as fault domains. */
function domainsOf(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  return Object.fromEntries(
    text.split(',').map((pair) => {
      const [node = '', domain = ''] = pair.split('=');
      if (!/^\d+$/.test(node) || domain === '')
        throw new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `--domains takes pairs such as 1=east,2=west, got "${pair}"`,
        );
      return [node, domain];
    }),
  );
}

async function addressesOf(
  session: LeaderSession,
  options: ConnectionOptions & { readonly address?: string },
  nodeId: number,
): Promise<readonly string[]> {
  if (options.address !== undefined) return options.address.split(',');
  const known =
    (await session.addressOf(nodeId)) ??
    (options.addresses === undefined ? await localAddressOf(options.dir, nodeId) : undefined);
  if (known !== undefined) return [known];
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `nobody knows where node ${nodeId} is; name it with --address host:port`,
  );
}

function roleOf(view: PartitionView, nodeId: number): string | undefined {
  return view.members.find((member) => member.nodeId === nodeId)?.role;
}

function rolledBack(goal: Goal): ClustorError {
  return new ClustorError(
    'CLUSTOR_MEMBERSHIP_ROLLED_BACK',
    `"${goal.title}" was begun and went back to the old voters`,
  );
}

function timedOut(goal: Goal, options: ChangeOptions): ClustorError {
  return new ClustorError(
    'CLUSTOR_DEADLINE_EXCEEDED',
    `"${goal.title}" was not done within ${options.timeoutS} s`,
  );
}

/** Runs with the leader of the partition that is meant. */
export async function withLeader(
  options: PartitionOptions,
  run: (session: LeaderSession) => Promise<number>,
): Promise<number> {
  const connection = await connectionOf(options, 'operator');
  const client = await connect(connection);
  let session: LeaderSession | undefined;
  try {
    const material = parseCertificateMaterial(connection);
    const partitionId = await choosePartition(client, options.partition);
    session = new LeaderSession(client, material, partitionId);
    return await run(session);
  } finally {
    await session?.close();
    await client.close();
  }
}
