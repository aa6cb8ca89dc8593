/** Changes of membership and leadership in the middle of a storm, by an operator at the command line. */
import { nextFloat, pick, type PrngState } from '../src/base/prng.ts';
import type { ChaosCluster } from './chaos-cluster.ts';
import type { ChaosOperator } from './chaos-operator.ts';

/** What became of the steps: in a storm many are refused or cannot be finished. */
export interface MemberSteps {
  done: number;
  notDone: number;
}

interface Listed {
  readonly members: readonly { readonly nodeId: number; readonly role: string }[];
  readonly leaderNodeId?: number;
}

const stepSecondsMax = '20';
const votersMin = 3;
const votersMax = 5;

/** See the file comment. One step at a time: what is asked for while one is under way is left out. */
export class ChaosMembers {
  readonly steps: MemberSteps = { done: 0, notDone: 0 };
  readonly #cluster: ChaosCluster;
  readonly #operator: ChaosOperator;
  readonly #note: (text: string) => void;
  #underWay: Promise<void> | undefined;
  #voters: readonly number[];

  constructor(
    cluster: ChaosCluster,
    parts: {
      readonly operator: ChaosOperator;
      readonly voters: readonly number[];
      readonly note: (text: string) => void;
    },
  ) {
    this.#cluster = cluster;
    this.#operator = parts.operator;
    this.#voters = parts.voters;
    this.#note = parts.note;
  }

  /** The voters of the last answer. */
  get voters(): readonly number[] {
    return this.#voters;
  }

  /** Begins to add, remove or replace a voter. */
  change(prng: PrngState): void {
    this.#alone(async () => {
      const listed = await this.list();
      if (listed === undefined) return;
      const voters = this.#voters;
      const known = new Set(listed.members.map(({ nodeId }) => nodeId));
      const spares = this.#cluster.nodeIds.filter((node) => !known.has(node));
      const learners = [...known].filter((node) => !voters.includes(node));
      const draw = nextFloat(prng);
      // What an earlier step left behind is finished first, or undone.
      const [learner] = learners;
      if (learner !== undefined)
        return this.#step(['members', draw < 0.5 ? 'promote' : 'remove', '--node', `${learner}`]);
      const node = pick(prng, voters);
      if (voters.length > votersMin && (draw < 0.5 || spares.length === 0))
        return this.#step(['members', 'remove', '--node', String(node)]);
      const spare = pick(prng, spares);
      const address = ['--address', this.#cluster.peerAddresses.get(spare) ?? ''];
      if (voters.length < votersMax && draw < 0.75)
        return this.#step(['members', 'add', '--node', String(spare), ...address]);
      const replaced = ['--node', String(node), '--with', String(spare), ...address];
      return this.#step(['members', 'replace', ...replaced]);
    });
  }

  /** Begins to hand leadership to another voter. */
  transfer(prng: PrngState): void {
    this.#alone(async () => {
      const listed = await this.list();
      const others = this.#voters.filter((node) => node !== listed?.leaderNodeId);
      if (listed === undefined || others.length === 0) return;
      return this.#step(['transfer-leader', '--to', String(pick(prng, others))]);
    });
  }

  /** Asks who the members are; undefined when nobody answers. */
  async list(): Promise<Listed | undefined> {
    const { exitCode, answer } = await this.#operator.run(['members', 'list']);
    if (exitCode !== 0) return undefined;
    const listed = answer as unknown as Listed;
    this.#voters = listed.members.flatMap(({ nodeId, role }) => (role === 'voter' ? nodeId : []));
    return listed;
  }

  /** Resolves when no step is under way. */
  async settled(): Promise<void> {
    await this.#underWay;
  }

  #alone(act: () => Promise<void>): void {
    if (this.#underWay !== undefined) return;
    this.#underWay = act().finally(() => (this.#underWay = undefined));
  }

  async #step(words: readonly string[]): Promise<void> {
    const { exitCode, answer } = await this.#operator.run([
      ...words,
      '--timeout-s',
      stepSecondsMax,
    ]);
    if (exitCode === 0) this.steps.done++;
    else this.steps.notDone++;
    const { code } = (answer['error'] ?? {}) as { readonly code?: string };
    this.#note(`${words.join(' ')}: ${exitCode === 0 ? 'done' : (code ?? `exit ${exitCode}`)}`);
    await this.list();
  }
}
