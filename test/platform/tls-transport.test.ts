import { connect, type TLSSocket } from 'node:tls';

import { afterEach, beforeAll, describe, expect, test } from 'vitest';

import type { CertificateKeeper } from '../../src/platform/certificate-keeper.ts';
import type { CertificateMaterial } from '../../src/platform/certificate-files.ts';
import type { TlsTransport } from '../../src/platform/tls-transport.ts';
import type { NodeAddress, PeerIdentity } from '../../src/ports/transport.ts';
import {
  bytesOf,
  Certificates,
  dial,
  EventList,
  home,
  moment,
  Opened,
  Recorder,
  waitUntil,
} from './tls-fixture.ts';

const anyPort: NodeAddress = { host: '127.0.0.1', port: 0 };

let certificates: Certificates;
let materials: Record<'one' | 'two' | 'client', CertificateMaterial>;
const opened = new Opened();
const observer = new EventList();

beforeAll(async () => {
  certificates = await Certificates.create();
  materials = {
    one: certificates.material(await certificates.node(1)),
    two: certificates.material(await certificates.node(2)),
    client: certificates.material(await certificates.client('shop')),
  };
});

afterEach(() => opened.close());

async function node(material: CertificateMaterial): Promise<TlsTransport> {
  return opened.transport({ observer, keeper: await opened.keeper(material), listen: anyPort });
}

/** Node 2 has dialed node 1; both ends are recorded. */
async function pair() {
  const [one, two] = [await node(materials.one), await node(materials.two)];
  const [accepted, dialed] = [new Recorder(), new Recorder()];
  const address = await one.listen(accepted.take);
  const outcome = await dial(two, address, { expected: 1, recorder: dialed });
  expect(outcome.kind).toBe('connected');
  await waitUntil('the connection is accepted', () => accepted.connection !== undefined);
  return { one, two, address, accepted, dialed };
}

describe('the TLS transport', () => {
  test('each end learns who the other is', async () => {
    const { accepted, dialed } = await pair();

    expect(accepted.connection?.peer).toMatchObject({ kind: 'node', nodeId: 2, clusterId: home });
    expect(dialed.connection?.peer).toMatchObject({ kind: 'node', nodeId: 1, clusterId: home });
    expect(accepted.connection?.remoteAddress).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  test('bytes arrive in order in both directions', async () => {
    const { accepted, dialed } = await pair();
    dialed.connection?.send([bytesOf('one '), bytesOf('two '), bytesOf('three')]);
    dialed.connection?.send([]);
    accepted.connection?.send([bytesOf('answer')]);

    await waitUntil('all bytes arrived', () => accepted.text.length + dialed.text.length >= 19);
    expect(accepted.text).toBe('one two three');
    expect(dialed.text).toBe('answer');
  });

  test('bytes sent while the connection is handed over are not lost', async () => {
    const [one, two] = [await node(materials.one), await node(materials.two)];
    const recorder = new Recorder();
    const address = await one.listen((connection) => {
      connection.send([bytesOf('greeting')]);
      return new Recorder();
    });
    await dial(two, address, { recorder });

    await waitUntil('the greeting arrived', () => recorder.text === 'greeting');
  });

  test('a client is a client to the node that it dials', async () => {
    const one = await node(materials.one);
    const client = opened.transport({ observer, keeper: await opened.keeper(materials.client) });
    const accepted = new Recorder();
    const outcome = await dial(client, await one.listen(accepted.take), { expected: 1 });

    expect(outcome.kind).toBe('connected');
    await waitUntil('the connection is accepted', () => accepted.connection !== undefined);
    expect(accepted.connection?.peer).toEqual({
      kind: 'client',
      clusterId: home,
      role: 'client',
      name: 'shop',
      spiffeId: `spiffe://clustor/${home}/client/client/shop`,
    });
  });

  test('a transport without an address does not listen', async () => {
    const client = opened.transport({ observer, keeper: await opened.keeper(materials.client) });

    await expect(client.listen(new Recorder().take)).rejects.toMatchObject({
      code: 'CLUSTOR_INVALID_ARGUMENT',
    });
  });

  test('a port that is taken is named', async () => {
    const { address } = await pair();
    const keeper = await opened.keeper(materials.two);
    const late = opened.transport({ observer, keeper, listen: address });

    await expect(late.listen(new Recorder().take)).rejects.toThrow(
      `cannot listen on 127.0.0.1:${address.port}: the port is in use`,
    );
  });

  test('end delivers what was sent, then both ends are closed once', async () => {
    const { accepted, dialed } = await pair();
    const megabyte = new Uint8Array(1 << 20).fill(7);
    accepted.connection?.send([megabyte, megabyte, megabyte]);
    accepted.connection?.end();
    accepted.connection?.send([bytesOf('too late')]);

    await waitUntil(
      'both ends are closed',
      () => dialed.reasons.length + accepted.reasons.length >= 2,
    );
    await moment();
    expect(dialed.byteCount).toBe(3 << 20);
    expect(dialed.reasons).toEqual([{ kind: 'closed' }]);
    expect(accepted.reasons).toEqual([{ kind: 'closed' }]);
  });

  test('end is no reset for a peer that is still sending', async () => {
    const { accepted, dialed } = await pair();
    const timer = setInterval(() => dialed.connection?.send([new Uint8Array(65_536)]), 1);
    try {
      await waitUntil('the sender is in full flow', () => accepted.byteCount > 200_000);
      accepted.connection?.send([bytesOf('refused: because')]);
      accepted.connection?.end();
      await waitUntil('the sender is closed', () => dialed.reasons.length > 0);
    } finally {
      clearInterval(timer);
    }
    expect(dialed.text).toBe('refused: because');
    expect(dialed.reasons).toEqual([{ kind: 'closed' }]);
  });

  test('destroy closes both ends once, and later sends are dropped', async () => {
    const { accepted, dialed } = await pair();
    dialed.connection?.destroy();
    dialed.connection?.destroy();
    dialed.connection?.send([bytesOf('into the void')]);

    await waitUntil(
      'both ends are closed',
      () => dialed.reasons.length + accepted.reasons.length >= 2,
    );
    await moment();
    expect(dialed.reasons).toHaveLength(1);
    expect(accepted.reasons).toHaveLength(1);
    expect(accepted.byteCount).toBe(0);
  });

  test('a paused reader holds the sender back, and a resumed one drains it', async () => {
    const { accepted, dialed } = await pair();
    const { connection } = dialed;
    accepted.connection?.pause(true);
    const chunk = new Uint8Array(1 << 20);
    for (let sent = 0; sent < 32; sent++) connection?.send([chunk]);
    await moment();

    expect(connection?.queuedBytes).toBeGreaterThan(0);
    expect(dialed.drainedCount).toBe(0);

    accepted.connection?.pause(false);
    await waitUntil('everything arrived', () => accepted.byteCount === 32 << 20);
    await waitUntil('the queue is empty', () => dialed.drainedCount > 0);
    expect(connection?.queuedBytes).toBe(0);
    expect(dialed.drainedCount).toBe(1);
  });

  test('a port where nobody listens refuses', async () => {
    const { one, two, address } = await pair();
    await one.close();

    expect(await dial(two, address)).toEqual({ kind: 'failed', reason: { kind: 'refused' } });
  });

  test('an address that cannot be is a failure, told later', async () => {
    const two = await node(materials.two);
    const outcome = await dial(two, { host: '127.0.0.1', port: 99_999 });

    expect(outcome).toMatchObject({ kind: 'failed', reason: { kind: 'failed' } });
  });

  test('closing a transport closes its connections, and it dials no more', async () => {
    const { two, address, accepted, dialed } = await pair();
    await two.close();

    await waitUntil(
      'both ends are closed',
      () => dialed.reasons.length + accepted.reasons.length >= 2,
    );
    expect(dialed.reasons).toEqual([{ kind: 'closed' }]);
    expect(await dial(two, address)).toEqual({ kind: 'failed', reason: { kind: 'closed' } });
  });

  test('HTTP connections on the same port go to the HTTP handler with their identity', async () => {
    const seen: { protocol: string; peer: PeerIdentity }[] = [];
    const one = opened.transport({
      observer,
      keeper: await opened.keeper(materials.one),
      listen: anyPort,
      http: {
        handle(socket: TLSSocket, protocol, peer) {
          seen.push({ protocol, peer });
          socket.end(`this is ${protocol}`);
        },
      },
    });
    const address = await one.listen(new Recorder().take);
    const { certificatePem: cert, privateKeyPem: key } = materials.client;
    for (const protocol of ['h2', 'http/1.1']) {
      const ca = certificates.authority.certificatePem;
      const socket = connect({ ...address, cert, key, ca, ALPNProtocols: [protocol] });
      const text = await new Promise<string>((resolve) => {
        socket.on('data', (chunk: Buffer) => resolve(chunk.toString()));
      });

      expect(text).toBe(`this is ${protocol}`);
    }
    expect(seen.map(({ protocol }) => protocol)).toEqual(['h2', 'http/1.1']);
    expect(seen[0]?.peer).toMatchObject({ kind: 'client', name: 'shop' });
  });

  test('a renewed certificate serves and dials without a restart, and open connections stay', async () => {
    const renewals: ((material: CertificateMaterial) => void)[] = [];
    const keeper = {
      current: materials.one,
      onRenewed(callback: (material: CertificateMaterial) => void) {
        renewals.push(callback);
        return () => {};
      },
      close() {},
    } satisfies CertificateKeeper;
    const one = opened.transport({ observer, keeper, listen: anyPort });
    const two = await node(materials.two);
    const accepted = new Recorder();
    const address = await one.listen(accepted.take);
    await dial(two, address, { expected: 1 });
    await waitUntil('the connection is accepted', () => accepted.connection !== undefined);

    const renewed = certificates.material(await certificates.node(1));
    keeper.current = renewed;
    for (const renew of renewals) renew(renewed);

    const { certificatePem: cert, privateKeyPem: key } = materials.two;
    const ca = certificates.authority.certificatePem;
    const socket = connect({ ...address, cert, key, ca, ALPNProtocols: ['clustor/1'] });
    await new Promise((resolve) => socket.on('secureConnect', resolve));
    const leaf = socket.getPeerX509Certificate()?.toString();
    socket.destroy();
    expect(leaf?.trim()).toBe(renewed.certificatePem.trim());
    expect((await dial(one, await two.listen(new Recorder().take), { expected: 2 })).kind).toBe(
      'connected',
    );
    expect(accepted.reasons).toEqual([]);
  });
});
