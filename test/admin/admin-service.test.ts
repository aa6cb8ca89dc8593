import {
  Code,
  ConnectError,
  createClient,
  createRouterTransport,
  type Interceptor,
} from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { asConnectError, createAdminRoutes, principalKey } from '../../src/admin/admin-service.ts';
import { AdminService } from '../../src/admin/generated/clustor/admin/v1/admin_pb.ts';
import type { ErrorCode } from '../../src/base/error-codes.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { nodeId } from '../../src/base/ids.ts';
import type { AdminClient } from '../../src/admin/admin-client.ts';
import type { ApplyOutcome } from '../../src/ports/state-machine.ts';
import type { PeerIdentity } from '../../src/ports/transport.ts';
import { createDevelopmentCa, issueNodeCertificate } from '../../src/security/development-ca.ts';
import { elsewhere, EventList, home, hourMs } from '../platform/tls-fixture.ts';
import { AdminWorld, machineThat, partition, type RunningNode } from './admin-fixture.ts';

const unknownPartition = '018c0d6c-9c11-7e9d-8000-86f5bb8c9999';

let world: AdminWorld;

beforeAll(async () => {
  world = await AdminWorld.create();
});

afterAll(async () => {
  await world.close();
});

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 10_000; !(await condition());) {
    if (Date.now() > deadline) throw new Error(`in vain waited until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function codeOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error instanceof ClustorError ? error.code : error;
  }
  return undefined;
}

describe('a node that leads alone', () => {
  let running: RunningNode;
  let client: AdminClient;

  beforeAll(async () => {
    running = await world.start();
    client = await world.client(running.address, { expected: 1 });
    await until(
      'it leads',
      async () => (await client.why(partition, 'readBlocked')).clause === 'None',
    );
  });

  test('tells a client everything that it knows of itself, in plain numbers', async () => {
    await running.node.partition(partition).append(new Uint8Array(100));
    const status = await client.getStatus();
    const own = running.node.status();

    expect(status).toMatchObject({
      clusterId: home,
      nodeId: 1,
      bootId: running.node.bootId,
      address: `127.0.0.1:${running.address.port}`,
      linksUp: [],
      journal: { ioWriterMode: own.journal.ioWriterMode, entries: own.journal.entries },
      partitions: [{ partitionId: partition, role: 'leader', leaderNodeId: 1, appliedIndex: 2 }],
    });
    expect(status.uptimeMs).toBeGreaterThan(0);
    expect(status.journal.entryBytes).toBeGreaterThanOrEqual(100);
    expect(status.journal.dataFlushes).toBeGreaterThan(0);
    expect(JSON.parse(JSON.stringify(status))).toEqual(status);
  });

  test('says the same over the wire as in the process, field by field', async () => {
    const { uptimeMs, partitions, ...rest } = await client.getStatus();
    const own = running.node.status();

    expect(Object.keys({ ...rest, uptimeMs, partitions }).toSorted()).toEqual(
      Object.keys(own).toSorted(),
    );
    expect(rest.journal).toEqual(own.journal);
    for (const [at, row] of partitions.entries()) {
      const { roleSinceMs, ...same } = row;
      expect({ ...own.partitions[at], roleSinceMs }).toMatchObject({ ...same, roleSinceMs });
    }
  });

  test('lists its partitions', async () => {
    expect(await client.listPartitions()).toMatchObject([
      { partitionId: partition, inDoubt: false },
    ]);
  });

  test('answers why also where nothing is wrong', async () => {
    const notLeader = await client.why(partition, 'notLeader');

    expect(notLeader).toMatchObject({ clause: 'Leads', facts: { role: 'leader' } });
    expect(notLeader.explanation).toContain('leads in term 1');
    expect(await client.why(partition, 'notReady')).toMatchObject({ clause: 'None' });
  });

  test('names the codes of wrong questions', async () => {
    expect(await codeOf(client.why(unknownPartition, 'notLeader'))).toBe(
      'CLUSTOR_UNKNOWN_PARTITION',
    );
    expect(await codeOf(client.why('the first one', 'notLeader'))).toBe('CLUSTOR_INVALID_ARGUMENT');
    expect(await codeOf(client.why(partition, 'tired' as 'notLeader'))).toBe(
      'CLUSTOR_INVALID_ARGUMENT',
    );
  });

  test('lets every role of the cluster look', async () => {
    for (const role of ['client', 'operator', 'observer'] as const) {
      const material = await world.materialOf(role);
      const asker = await world.client(running.address, { material });
      expect((await asker.getStatus()).nodeId).toBe(1);
    }
    const material = world.certificates.material(await world.certificates.node(2));
    const peer = await world.client(running.address, { material });
    expect(await peer.listPartitions()).toHaveLength(1);
  });

  test('is not asked when it is not the expected node', async () => {
    const other = await world.client(running.address, { expected: 2 });

    expect(await codeOf(other.getStatus())).toBe('CLUSTOR_WRONG_NODE');
  });

  test('is not asked when it belongs to another cluster or authority', async () => {
    const authority = await createDevelopmentCa({
      clusterId: elsewhere,
      wallMs: Date.now(),
      lifetimeMs: hourMs,
    });
    const issued = await issueNodeCertificate({
      authority,
      clusterId: elsewhere,
      nodeId: nodeId(1),
      hosts: [],
      wallMs: Date.now(),
      lifetimeMs: hourMs,
    });
    const good = await world.materialOf('observer');
    const foreign = {
      ...good,
      certificatePem: issued.certificatePem,
      privateKeyPem: issued.privateKeyPem,
    };
    const stranger = await world.client(running.address, { material: foreign });
    const distrusting = await world.client(running.address, {
      material: { ...good, trustBundlePem: authority.certificatePem },
    });
    const astray = await world.client(running.address, {
      material: { ...good, identity: { ...good.identity, clusterId: elsewhere } },
    });

    // The node closes without a word (TLS 1.3 has none after the handshake) and reports why.
    expect(await codeOf(stranger.getStatus())).toBe('CLUSTOR_NO_LEADER');
    expect(running.events.refusalCodes).toContain('CLUSTOR_UNAUTHENTICATED');
    expect(await codeOf(distrusting.getStatus())).toBe('CLUSTOR_UNAUTHENTICATED');
    expect(await codeOf(astray.getStatus())).toBe('CLUSTOR_WRONG_CLUSTER');
  });

  test('a closed client says so', async () => {
    const closing = await world.client(running.address);
    const underWay = codeOf(closing.getStatus());
    await closing.close();

    expect(await underWay).toBe('CLUSTOR_CLOSED');
    expect(await codeOf(closing.getStatus())).toBe('CLUSTOR_CLOSED');
  });
});

describe('a client of a node that is not there', () => {
  test('fails when nobody listens', async () => {
    const client = await world.client({ host: '127.0.0.1', port: 9 });

    expect(await codeOf(client.getStatus())).toBe('CLUSTOR_NO_LEADER');
  });

  test('fails when HTTP is not served', async () => {
    const material = world.certificates.material(await world.certificates.node(1));
    const transport = world.opened.transport({
      keeper: await world.opened.keeper(material),
      observer: new EventList(),
      listen: { host: '127.0.0.1', port: 0 },
    });
    const address = await transport.listen(() => ({
      data: () => {},
      closed: () => {},
      drained: () => {},
    }));
    const client = await world.client(address);

    expect(await codeOf(client.getStatus())).toBe('CLUSTOR_NO_LEADER');
  });
});

test('a node without its quorum names the voters that are missing', async () => {
  const running = await world.start({ voters: 3 });
  const client = await world.client(running.address);

  for (const kind of ['notLeader', 'readBlocked', 'notReady'] as const) {
    const answer = await client.why(partition, kind);
    expect(answer.clause).toBe('QuorumUnreachable');
    expect(answer.explanation).toContain('1 of 3 voters; missing: 2 at 127.0.0.1:9, 3 at');
  }
});

test('a machine that stopped applying blocks reads and readiness but not leading', async () => {
  const machine = machineThat(() => {
    throw new Error('the cat has the key');
  });
  const running = await world.start({ machine });
  const client = await world.client(running.address);
  await until(
    'it leads',
    async () => (await client.why(partition, 'notLeader')).clause === 'Leads',
  );
  running.node
    .partition(partition)
    .append(new Uint8Array(1))
    .catch(() => undefined);
  await until(
    'it stopped',
    async () => (await client.why(partition, 'notReady')).clause === 'ApplyFault',
  );

  for (const kind of ['readBlocked', 'notReady'] as const) {
    const answer = await client.why(partition, kind);
    expect(answer.clause).toBe('ApplyFault');
    expect(answer.explanation).toContain('the cat has the key');
  }
  expect((await client.why(partition, 'notLeader')).clause).toBe('Leads');
});

test('a slow machine is named until it has caught up', async () => {
  let release: (outcome: ApplyOutcome) => void = () => {};
  const running = await world.start({
    machine: machineThat(() => new Promise<ApplyOutcome>((resolve) => (release = resolve))),
  });
  const client = await world.client(running.address);
  await until(
    'it leads',
    async () => (await client.why(partition, 'notLeader')).clause === 'Leads',
  );
  const appended = running.node.partition(partition).append(new Uint8Array(1));
  await until(
    'it lags',
    async () => (await client.why(partition, 'readBlocked')).clause === 'ApplyBehind',
  );

  release({ kind: 'ack' });
  await appended;

  expect((await client.why(partition, 'readBlocked')).clause).toBe('None');
});

describe('the judgement before every handler', () => {
  const observer = new EventList();
  const node = {
    status: () => {
      throw new Error('a secret of the inside');
    },
    replicas: () => [],
    keys: {
      status: () => {
        throw new Error('a secret of the inside');
      },
      rotate: () => Promise.reject(new Error('a secret of the inside')),
    },
    scrub: {
      status: () => Promise.reject(new Error('a secret of the inside')),
      start: () => Promise.reject(new Error('a secret of the inside')),
      pause: () => Promise.reject(new Error('a secret of the inside')),
      resume: () => Promise.reject(new Error('a secret of the inside')),
    },
    partition: () => {
      throw new Error('a secret of the inside');
    },
  };
  const principal = (role: 'observer' | 'operator'): PeerIdentity => ({
    kind: 'client',
    clusterId: home,
    role,
    name: `an-${role}`,
    spiffeId: `spiffe://clustor/${home}/client/${role}/an-${role}`,
  });

  /** What a call of every method ends with. */
  async function refusals(caller: PeerIdentity | undefined): Promise<readonly ConnectError[]> {
    const asPrincipal: Interceptor = (next) => (request) => {
      request.contextValues.set(principalKey, caller);
      return next(request);
    };
    const transport = createRouterTransport((router) => {
      const evidence = { gather: () => Promise.reject(new Error('a secret of the inside')) };
      createAdminRoutes({ node, evidence, observer })({
        ...router,
        service: (type, implementation, options) => {
          const interceptors = [asPrincipal, ...(options?.interceptors ?? [])];
          return router.service(type, implementation, { ...options, interceptors });
        },
      });
    });
    const client = createClient(AdminService, transport);
    const calls = [
      client.getStatus({}),
      client.listPartitions({}),
      client.getPartition({ partitionId: partition }),
      client.why({ partitionId: partition, kind: 'notLeader' }),
      client.addMember({ partitionId: partition, nodeId: 4n, role: 'learner' }),
      client.changeVoters({ partitionId: partition, promote: [4n] }),
      client.planVoters({ partitionId: partition, promote: [4n] }),
      client.rollBackMembership({ partitionId: partition }),
      client.getDurability({ partitionId: partition }),
      client.setDurability({ partitionId: partition, mode: 'Strict' }),
      client.transferLeadership({ partitionId: partition, toNodeId: 2n }),
      client.getKeys({}),
      client.rotateKeys({}),
      client.setQuarantine({ partitionId: partition, ticket: 'OPS-17', reason: 'a trial' }),
      client.getScrub({}),
      client.startScrub({}),
      client.pauseScrub({}),
      client.resumeScrub({}),
      client.gatherEvidence({ partitionId: partition, indexes: [1n] }),
      client.takeSnapshot({ partitionId: partition }),
      client.clearQuarantine({ partitionId: partition, ticket: 'OPS-17' }),
    ];
    expect(calls).toHaveLength(AdminService.methods.length);
    return Promise.all(calls.map((call) => call.then(unexpected, ConnectError.from)));
  }

  function unexpected(): never {
    throw new Error('the node has no status to give');
  }

  test('a call without a principal is refused and reported', async () => {
    for (const error of await refusals(undefined)) {
      expect(error.code).toBe(Code.Unauthenticated);
      expect(error.metadata.get('clustor-code')).toBe('CLUSTOR_UNAUTHENTICATED');
    }
    const reported = observer.events.filter(({ kind }) => kind === 'adminRefused');
    expect(reported.map(({ fields }) => fields['method'])).toEqual(
      AdminService.methods.map((method) => method.name),
    );
  });

  test('an observer may look and change nothing', async () => {
    const refused = (await refusals(principal('observer'))).map(
      (error) => error.code === Code.PermissionDenied,
    );
    const denied = AdminService.methods.filter((_method, at) => refused[at]);
    expect(denied.map((method) => method.name)).toEqual([
      'AddMember',
      'ChangeVoters',
      'RollBackMembership',
      'SetDurability',
      'TransferLeadership',
      'RotateKeys',
      'SetQuarantine',
      'StartScrub',
      'PauseScrub',
      'ResumeScrub',
      'GatherEvidence',
      'TakeSnapshot',
      'ClearQuarantine',
    ]);
  });

  test('an operator may call every method; what breaks inside is reported and not told', async () => {
    for (const error of await refusals(principal('operator'))) {
      expect(error.code).toBe(Code.Internal);
      expect(error.message).not.toContain('secret');
    }
    expect(observer.events.at(-1)).toMatchObject({
      kind: 'adminFailed',
      fields: { message: 'a secret of the inside' },
    });
  });

  test('errors carry their code and a fitting one of Connect', () => {
    const codes = {
      CLUSTOR_INVALID_ARGUMENT: Code.InvalidArgument,
      CLUSTOR_UNAUTHENTICATED: Code.Unauthenticated,
      CLUSTOR_PERMISSION_DENIED: Code.PermissionDenied,
      CLUSTOR_UNKNOWN_PARTITION: Code.NotFound,
      CLUSTOR_CLOSED: Code.Unavailable,
      CLUSTOR_INTERNAL: Code.Internal,
    } as const;
    for (const [code, expected] of Object.entries(codes)) {
      const error = asConnectError(new ClustorError(code as ErrorCode, 'because'));
      expect(error).toMatchObject({ code: expected, rawMessage: 'because' });
      expect(error.metadata.get('clustor-code')).toBe(code);
    }
  });
});
