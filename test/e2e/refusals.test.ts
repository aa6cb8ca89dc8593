import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, afterAll, expect, test } from 'vitest';

import { ChaosCluster } from '../../sim/chaos-cluster.ts';
import { createPrng, forkPrng, nextFloat, type PrngState } from '../../src/base/prng.ts';
import { clusterId, nodeId } from '../../src/base/ids.ts';
import type { ConnectedClient } from '../../src/client/index.ts';
import {
  createDevelopmentCa,
  issueClientCertificate,
  issueNodeCertificate,
  type IssuedCertificate,
} from '../../src/security/development-ca.ts';
import { opensslHears } from '../platform/tls-fixture.ts';
import { drawBadFrame } from './support/bad-frames.ts';
import { describeFrame, frameOf, RawPeer, type Reaction } from './support/raw-peer.ts';
import { removedDirectory } from './support/up-process.ts';

const hourMs = 3_600_000;
/** Every check sends some; `CLUSTOR_BAD_FRAMES=10000` sends as many as the whole claim is about. */
const inputs = Number(process.env['CLUSTOR_BAD_FRAMES'] ?? 2_000);
const lanes = 12;
const elsewhere = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0002');
const somewhere = '018c0d6c-9c11-7e9d-8000-86f5bb8c0003';
/** Another one: `TEST_SEED=7 npx vitest run …`. */
const seed = Number(process.env['TEST_SEED'] ?? 1);

const folder = removedDirectory('refusals', afterAll);
let cluster: ChaosCluster;
let client: ConnectedClient;

beforeAll(async () => {
  cluster = await ChaosCluster.create({ directory: folder, nodeCount: 3, isLinked: false });
  await cluster.startAll();
  client = await cluster.connect();
});

afterAll(async () => {
  await client.close();
  await cluster.close();
});

function times(): { readonly wallMs: number; readonly lifetimeMs: number } {
  return { wallMs: Date.now(), lifetimeMs: hourMs };
}

function nodeCertificate(id: number, wallMs = Date.now()): Promise<IssuedCertificate> {
  const { authority } = cluster;
  const named = { clusterId: cluster.clusterId, nodeId: nodeId(id), hosts: [] };
  return issueNodeCertificate({ authority, ...named, wallMs, lifetimeMs: hourMs });
}

function clientCertificate(): Promise<IssuedCertificate> {
  const { authority } = cluster;
  const named = { clusterId: cluster.clusterId, role: 'client' as const, name: 'raw' };
  return issueClientCertificate({ authority, ...named, ...times() });
}

async function foreignCertificate(): Promise<IssuedCertificate> {
  const authority = await createDevelopmentCa({ clusterId: cluster.clusterId, ...times() });
  const named = { clusterId: cluster.clusterId, nodeId: nodeId(2), hosts: [] };
  return issueNodeCertificate({ authority, ...named, ...times() });
}

function otherClusterCertificate(): Promise<IssuedCertificate> {
  const { authority } = cluster;
  return issueNodeCertificate({
    authority,
    clusterId: elsewhere,
    nodeId: nodeId(2),
    hosts: [],
    ...times(),
  });
}

const strangers: readonly {
  readonly who: string;
  readonly code: string;
  readonly issue: () => Promise<IssuedCertificate | undefined>;
}[] = [
  { who: 'nobody', code: 'CLUSTOR_UNAUTHENTICATED', issue: () => Promise.resolve(undefined) },
  { who: 'a foreign authority', code: 'CLUSTOR_UNAUTHENTICATED', issue: foreignCertificate },
  {
    who: 'the past',
    code: 'CLUSTOR_CERTIFICATE_EXPIRED',
    issue: () => nodeCertificate(2, Date.now() - 3 * hourMs),
  },
  { who: 'another cluster', code: 'CLUSTOR_WRONG_CLUSTER', issue: otherClusterCertificate },
];

/** Codes of the refusals that a node logged from the `from`-th character of its log on. */
function refusalCodes(node: number, from: number): readonly string[] {
  const lines = logOf(node).slice(from).split('\n');
  return lines
    .filter((line) => line.includes('"connectionRefused"'))
    .map((line) => (JSON.parse(line) as { readonly code: string }).code);
}

function logOf(node: number): string {
  return readFileSync(join(cluster.nodeFolder(node), 'node.log'), 'utf8');
}

async function expectServing(): Promise<void> {
  const { index } = await client.append(cluster.partitionId, Buffer.from('still here'));
  expect(index).toBeGreaterThan(0);
  expect(cluster.runningIds).toEqual(cluster.nodeIds);
}

test.each(strangers)(
  'openssl with a certificate of $who hears no application byte on any port',
  async ({ code, issue }) => {
    const issued = await issue();
    const words: string[] = [];
    if (issued !== undefined) {
      const place = mkdtempSync(join(folder, 'stranger-'));
      writeFileSync(join(place, 'certificate.pem'), issued.certificatePem);
      writeFileSync(join(place, 'key.pem'), issued.privateKeyPem);
      words.push('-cert', join(place, 'certificate.pem'), '-key', join(place, 'key.pem'));
    }
    for (const [node, address] of cluster.addresses) {
      const colon = address.lastIndexOf(':');
      const target = { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
      const before = logOf(node).length;

      for (const protocol of ['clustor/1', 'h2', 'http/1.1']) {
        expect(await opensslHears(target, ['-alpn', protocol, ...words])).toBe('');
      }

      expect(refusalCodes(node, before)[0]).toBe(code);
    }
    await expectServing();
  },
);

test('a client certificate cannot speak as a node', async () => {
  const certificate = await clientCertificate();
  const { clusterId: id } = cluster;
  for (const address of cluster.addresses.values()) {
    const impostor = await RawPeer.dial({ address, clusterId: id, nodeId: 2, certificate });
    expect(await impostor.greet()).toEqual({ kind: 'goodbye', code: 'CLUSTOR_WRONG_NODE' });

    const peer = await RawPeer.dial({ address, clusterId: id, nodeId: 0, certificate });
    expect(await peer.greet()).toMatchObject({ message: { kind: 'helloAccepted' } });
    const vote = {
      ...{ kind: 'voteRequest', partitionId: cluster.partitionId, toIncarnation: somewhere },
      ...{
        fromReplica: 2,
        fromIncarnation: somewhere,
        term: 99,
        lastIndex: 99,
        lastTerm: 99,
        flags: 0,
      },
    };
    peer.send(frameOf(vote as unknown as Parameters<typeof frameOf>[0]));
    expect(await peer.reaction()).toEqual({ kind: 'goodbye', code: 'CLUSTOR_PERMISSION_DENIED' });
    expect(await peer.reaction()).toEqual({ kind: 'closed' });
  }
  await expectServing();
});

/** Sends one bad frame on a connection of its own and classifies what comes back. */
async function attempt(lane: Lane): Promise<string> {
  const { prng, address, certificate, id } = lane;
  const peer = await RawPeer.dial({
    address,
    clusterId: cluster.clusterId,
    nodeId: id,
    certificate,
  });
  try {
    if (nextFloat(prng) < 0.8) {
      const greeting = await peer.greet();
      if (greeting.kind !== 'answered') return `${JSON.stringify(greeting)} to the handshake`;
    }
    const frame = drawBadFrame(prng);
    peer.send(frame.bytes);
    if (frame.kind === 'truncated') peer.end();
    else peer.send(describeFrame);
    return verdictOf(frame.kind, await lastReaction(peer));
  } finally {
    peer.destroy();
  }
}

interface Lane {
  readonly prng: PrngState;
  readonly address: string;
  readonly certificate: IssuedCertificate;
  readonly id: number;
}

/** What ends the exchange: a refusal, a closed connection, or the answer to the question behind the frame. */
async function lastReaction(peer: RawPeer): Promise<Reaction> {
  for (;;) {
    const reaction = await peer.reaction();
    const isAnswerToFrame =
      reaction.kind === 'answered' && reaction.message.kind !== 'describeResponse';
    if (!isAnswerToFrame) return reaction;
  }
}

/** Empty if all is well: a coded refusal, a frame that could be understood after all, or the end of a truncated one. */
function verdictOf(kind: string, reaction: Reaction): string {
  if (reaction.kind === 'goodbye')
    return reaction.code === 'CLUSTOR_INTERNAL' ? `${kind}: internal error` : '';
  if (reaction.kind === 'closed')
    return kind === 'truncated' ? '' : `${kind}: closed without a code`;
  return kind === 'changed' || kind === 'random' ? '' : `${kind}: was understood`;
}

test.each(['client', 'node'] as const)(
  `bad frames with a %s certificate are refused with codes (seed ${seed})`,
  async (role) => {
    const prng = createPrng(seed);
    const addresses = [...cluster.addresses.values()];
    const problems = new Map<string, number>();
    const running = Array.from({ length: lanes }, async (_, at) => {
      // A node that dials again ends its older connection, so each lane is another one.
      const id = role === 'node' ? 100 + at : 0;
      const certificate = role === 'node' ? await nodeCertificate(id) : await clientCertificate();
      const address = addresses[at % addresses.length] ?? '';
      const lane = { prng: forkPrng(prng, `${role} ${at}`), address, certificate, id };
      for (let count = at; count < inputs / 2; count += lanes) {
        const problem = await attempt(lane);
        if (problem !== '') problems.set(problem, (problems.get(problem) ?? 0) + 1);
      }
    });
    await Promise.all(running);

    expect([...problems]).toEqual([]);
    await expectServing();
  },
);
