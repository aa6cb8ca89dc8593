import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  connect,
  createServer as createTlsServer,
  type ConnectionOptions,
  type TlsOptions,
} from 'node:tls';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { TlsTransport } from '../../src/platform/tls-transport.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Connection, NodeAddress } from '../../src/ports/transport.ts';
import type { IssuedCertificate } from '../../src/security/development-ca.ts';
import {
  bytesOf,
  Certificates,
  dial,
  elsewhere,
  EventList,
  home,
  hourMs,
  moment,
  Opened,
  opensslHears,
  realClock,
  Recorder,
  strangerHears,
  waitUntil,
} from './tls-fixture.ts';

const anyPort: NodeAddress = { host: '127.0.0.1', port: 0 };
const opened = new Opened();
/** Only there does the loopback interface have many addresses. */
const hasAddresses = process.platform === 'linux';

let certificates: Certificates;
let observer: EventList;
let accepted: Connection[];
let one: TlsTransport;
let address: NodeAddress;

/** Timers run ten times as fast: five seconds of patience are half a second here. */
const fastClock: Clock = {
  ...realClock,
  setTimer: (delayMs, callback) => realClock.setTimer(delayMs / 10, callback),
};

async function openNode(clock: Clock): Promise<void> {
  const keeper = await opened.keeper(certificates.material(await certificates.node(1)));
  one = opened.transport({ clock, observer, keeper, listen: anyPort });
  address = await one.listen((connection) => {
    accepted.push(connection);
    connection.send([bytesOf('secret greeting')]);
    return new Recorder();
  });
}

beforeAll(async () => {
  certificates = await Certificates.create();
});

beforeEach(async () => {
  observer = new EventList();
  accepted = [];
  await openNode(realClock);
});

afterEach(() => opened.close());

function keysOf(issued: IssuedCertificate): { readonly cert: string; readonly key: string } {
  return { cert: issued.certificatePem, key: issued.privateKeyPem };
}

/** The stranger heard nothing, nobody was told of it, and there is one event with this code. */
async function expectRefusal(heard: string, code: string): Promise<void> {
  await waitUntil('the refusal is reported', () => observer.refusalCodes.length > 0);
  expect(heard).toBe('');
  expect(accepted).toEqual([]);
  expect(observer.refusalCodes).toEqual([code]);
  expect(observer.events[0]).toMatchObject({
    level: 'warn',
    kind: 'connectionRefused',
    fields: {
      reason: expect.stringMatching(/.{10}/) as string,
      remoteAddress: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
    },
  });
}

describe('a node that listens', () => {
  test('greets a peer with a good certificate, so that silence below means refusal', async () => {
    const keys = keysOf(await certificates.node(2));
    const socket = connect({
      ...address,
      ...keys,
      rejectUnauthorized: false,
      ALPNProtocols: ['clustor/1'],
    });
    const text = await new Promise<string>((resolve) => {
      socket.on('data', (chunk: Buffer) => resolve(chunk.toString()));
    });
    socket.destroy();

    expect(text).toBe('secret greeting');
    expect(observer.events).toEqual([]);
  });

  test('refuses a peer without a certificate', async () => {
    await expectRefusal(await strangerHears(address, {}), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses a certificate of an unknown authority', async () => {
    const issued = await certificates.node(2, { authority: certificates.foreignAuthority });

    await expectRefusal(await strangerHears(address, keysOf(issued)), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses an expired certificate', async () => {
    const keys = keysOf(await certificates.expired(2));

    await expectRefusal(await strangerHears(address, keys), 'CLUSTOR_CERTIFICATE_EXPIRED');
  });

  test('refuses a node of another cluster under the same authority', async () => {
    const keys = keysOf(await certificates.node(2, { clusterId: elsewhere }));

    await expectRefusal(await strangerHears(address, keys), 'CLUSTOR_WRONG_CLUSTER');
  });

  test('refuses a certificate without a URI name', async () => {
    const keys = keysOf(await certificates.withUris());

    await expectRefusal(await strangerHears(address, keys), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses a certificate with a malformed identity', async () => {
    const keys = keysOf(await certificates.withUris(`spiffe://clustor/${home}/node/02`));

    await expectRefusal(await strangerHears(address, keys), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses a certificate with two identities', async () => {
    const [first, second] = [1, 2].map((id) => `spiffe://clustor/${home}/node/${id}`);
    const keys = keysOf(await certificates.withUris(first ?? '', second ?? ''));

    await expectRefusal(await strangerHears(address, keys), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses a peer that names no application protocol', async () => {
    const keys = keysOf(await certificates.node(2));
    const heard = await strangerHears(address, { ...keys, ALPNProtocols: [] });

    await expectRefusal(heard, 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses a peer that names an unknown application protocol', async () => {
    const keys = keysOf(await certificates.node(2));
    const heard = await strangerHears(address, { ...keys, ALPNProtocols: ['clustor/99'] });

    await expectRefusal(heard, 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses HTTP where no HTTP is served', async () => {
    const keys = keysOf(await certificates.node(2));
    const heard = await strangerHears(address, { ...keys, ALPNProtocols: ['h2'] });

    await expectRefusal(heard, 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses TLS 1.2', async () => {
    const keys = keysOf(await certificates.node(2));
    const heard = await strangerHears(address, { ...keys, maxVersion: 'TLSv1.2' });

    await expectRefusal(heard, 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses plain HTTP', async () => {
    const heard: Buffer[] = [];
    const socket = connectTcp(address.port, address.host);
    socket.on('data', (chunk) => heard.push(chunk));
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise<void>((resolve) => socket.on('close', () => resolve()));

    await waitUntil('the refusal is reported', () => observer.refusalCodes.length > 0);
    expect(observer.refusalCodes).toEqual(['CLUSTOR_UNAUTHENTICATED']);
    expect(Buffer.concat(heard).toString('latin1')).not.toContain('HTTP');
    expect(accepted).toEqual([]);
  });

  test('reports nothing when a peer leaves before the handshake', async () => {
    const socket = connectTcp(address.port, address.host, () => socket.destroy());
    await new Promise<void>((resolve) => socket.on('close', () => resolve()));
    await moment();

    expect(observer.events).toEqual([]);
  });

  test('resumes no session, so that every connection shows its certificate', async () => {
    const options = {
      ...address,
      ...keysOf(await certificates.node(2)),
      rejectUnauthorized: false,
      ALPNProtocols: ['clustor/1'],
    };
    const first = connect(options);
    const session = await new Promise<Buffer>((resolve) => {
      first.on('session', resolve);
      first.resume();
    });
    first.destroy();
    const second = connect({ ...options, session });
    await new Promise((resolve) => second.on('secureConnect', resolve));

    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });
});

describe('a node against strangers in numbers', () => {
  async function openTcp(count: number, localAddress = '127.0.0.1'): Promise<Socket[]> {
    const sockets = Array.from({ length: count }, () => connectTcp({ ...address, localAddress }));
    for (const socket of sockets) {
      socket.on('error', () => {});
      opened.onClose(() => void socket.destroy());
    }
    await Promise.all(
      sockets.map(
        (socket) => new Promise<void>((resolve) => socket.on('connect', () => resolve())),
      ),
    );
    return sockets;
  }

  test('holds at most 64 connections that are not authenticated', async () => {
    const silent = await openTcp(64);
    await moment();
    expect(silent.filter((socket) => socket.readableEnded || socket.destroyed)).toEqual([]);

    const [tooMany] = await openTcp(1);
    tooMany?.resume();
    await waitUntil('the 65th is dropped', () => tooMany?.destroyed === true);
    expect(observer.refusalCodes).toEqual(['CLUSTOR_OVERLOADED']);

    for (const socket of silent) socket.destroy();
    await moment();
    const keys = keysOf(await certificates.node(2));
    const late = connect({
      ...address,
      ...keys,
      rejectUnauthorized: false,
      ALPNProtocols: ['clustor/1'],
    });
    await waitUntil('a good peer comes in again', () => accepted.length === 1);
    late.destroy();
  });

  test.runIf(hasAddresses)('lets a peer in from another address than the crowded one', async () => {
    const silent = await openTcp(64);
    for (const socket of silent) socket.resume();
    await moment();
    const keys = { ...keysOf(await certificates.node(2)), ALPNProtocols: ['clustor/1'] };
    const from = { ...address, localAddress: '127.0.0.2' } as ConnectionOptions;
    const good = connect({ ...from, ...keys, rejectUnauthorized: false });

    await waitUntil('the good peer comes in', () => accepted.length === 1);
    await waitUntil('one place was given up', () => silent.some((socket) => socket.destroyed));
    await openTcp(2);
    await moment();

    // The good peer needs no place any more; one stranger has it, and another one is too many.
    expect(silent.filter((socket) => !socket.destroyed)).toHaveLength(63);
    expect(observer.refusalCodes).toEqual(['CLUSTOR_OVERLOADED', 'CLUSTOR_OVERLOADED']);
    good.destroy();
  });

  test.runIf(hasAddresses)('shares its places among addresses', async () => {
    const first = await openTcp(64);
    const second = await openTcp(40, '127.0.0.2');
    for (const socket of [...first, ...second]) socket.resume();
    await moment();

    expect(first.filter((socket) => !socket.destroyed)).toHaveLength(32);
    expect(second.filter((socket) => !socket.destroyed)).toHaveLength(32);
  });

  test('drops a peer that never finishes the handshake, however busy', async () => {
    await opened.close();
    await openNode(fastClock);
    const [socket] = await openTcp(1);
    // A TLS record header that announces much, then a byte now and then.
    socket?.write(Uint8Array.of(0x16, 3, 1, 0x3f, 0, 1, 0, 0x3e, 0xfc));
    const drip = setInterval(() => socket?.write(Uint8Array.of(0)), 20);
    socket?.resume();
    try {
      await waitUntil('the slow peer is dropped', () => socket?.destroyed === true);
    } finally {
      clearInterval(drip);
    }

    expect(observer.events[0]?.fields).toMatchObject({
      code: 'CLUSTOR_UNAUTHENTICATED',
      reason: 'the TLS handshake took too long',
    });
  });

  test('reports ten refusals of a second, and the number of the others', async () => {
    await Promise.all(Array.from({ length: 25 }, () => strangerHears(address, {})));
    await waitUntil('the second is over', () =>
      observer.events.some(({ kind }) => kind === 'connectionsRefused'),
    );

    const counted = observer.events
      .filter(({ kind }) => kind === 'connectionsRefused')
      .reduce((sum, { fields }) => sum + Number(fields['count']), 0);
    expect(observer.refusalCodes.length).toBeGreaterThanOrEqual(10);
    expect(observer.refusalCodes.length + counted).toBe(25);
  });
});

describe('a node that dials', () => {
  /** A server that is not ours: whoever dials it must hang up before saying anything. */
  async function impostor(
    issued: IssuedCertificate,
    options: TlsOptions = {},
  ): Promise<{ readonly address: NodeAddress; readonly heard: Buffer[] }> {
    const heard: Buffer[] = [];
    const ca = certificates.authority.certificatePem;
    const server = createTlsServer(
      { ...keysOf(issued), ca, requestCert: true, ALPNProtocols: ['clustor/1'], ...options },
      (socket) => {
        socket.on('data', (chunk: Buffer) => heard.push(chunk));
        socket.on('error', () => {});
        socket.write('come in');
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    opened.onClose(() => void server.close());
    const { port } = server.address() as { port: number };
    return { address: { host: '127.0.0.1', port }, heard };
  }

  async function expectUnauthenticated(
    issued: IssuedCertificate,
    code: string,
    expected?: number,
  ): Promise<void> {
    const { address: wrong, heard } = await impostor(issued);
    const recorder = new Recorder();
    const outcome = await dial(one, wrong, {
      recorder,
      ...(expected === undefined ? {} : { expected }),
    });
    await moment();

    expect(outcome).toMatchObject({ kind: 'failed', reason: { kind: 'unauthenticated' } });
    expect(recorder.connection).toBeUndefined();
    expect(recorder.reasons).toEqual([]);
    expect(heard).toEqual([]);
    expect(observer.refusalCodes).toEqual([code]);
  }

  test('refuses another node than the expected one', async () => {
    await expectUnauthenticated(await certificates.node(3), 'CLUSTOR_WRONG_NODE', 2);
  });

  test('refuses a node of another cluster under the same authority', async () => {
    const issued = await certificates.node(2, { clusterId: elsewhere });

    await expectUnauthenticated(issued, 'CLUSTOR_WRONG_CLUSTER', 2);
  });

  test('refuses a certificate of an unknown authority', async () => {
    const issued = await certificates.node(2, { authority: certificates.foreignAuthority });

    await expectUnauthenticated(issued, 'CLUSTOR_UNAUTHENTICATED', 2);
  });

  test('refuses an expired certificate', async () => {
    await expectUnauthenticated(await certificates.expired(2), 'CLUSTOR_CERTIFICATE_EXPIRED', 2);
  });

  test('refuses a client that poses as a node', async () => {
    await expectUnauthenticated(await certificates.client('shop'), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses an identity of a client in a certificate that may serve', async () => {
    const issued = await certificates.withUris(`spiffe://clustor/${home}/client/client/shop`);

    await expectUnauthenticated(issued, 'CLUSTOR_UNAUTHENTICATED');
  });

  test('refuses a certificate without an identity', async () => {
    await expectUnauthenticated(await certificates.withUris(), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('fails where the other side speaks no clustor/1', async () => {
    const { address: web, heard } = await impostor(await certificates.node(2), {
      ALPNProtocols: ['h2'],
    });
    expect((await dial(one, web)).kind).toBe('failed');
    const { address: mute } = await impostor(await certificates.node(2), { ALPNProtocols: [] });
    expect((await dial(one, mute)).kind).toBe('failed');
    await moment();
    expect(heard).toEqual([]);
  });

  test('gives up on a peer that accepts and says nothing', async () => {
    await opened.close();
    await openNode(fastClock);
    const server = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    opened.onClose(() => void server.close());
    const { port } = server.address() as { port: number };

    expect(await dial(one, { host: '127.0.0.1', port })).toEqual({
      kind: 'failed',
      reason: { kind: 'failed', detail: 'no connection within 2000 ms' },
    });
  });

  test('learns from the close that the other side refused its expired certificate', async () => {
    const expired = certificates.material(await certificates.expired(2), Date.now() - 3 * hourMs);
    const two = opened.transport({ observer, keeper: await opened.keeper(expired) });
    const recorder = new Recorder();
    const outcome = await dial(two, address, { expected: 1, recorder });

    if (outcome.kind === 'connected') {
      await waitUntil('the connection is closed', () => recorder.reasons.length > 0);
    }
    expect(recorder.byteCount).toBe(0);
    await waitUntil('the refusal is reported', () => observer.refusalCodes.length > 0);
    expect(observer.refusalCodes).toEqual(['CLUSTOR_CERTIFICATE_EXPIRED']);
  });
});

describe('the openssl command line', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'clustor-tls-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function keyOptions(issued: IssuedCertificate): readonly string[] {
    const [certificate, key] = [join(folder, 'leaf.pem'), join(folder, 'key.pem')];
    writeFileSync(certificate, issued.certificatePem);
    writeFileSync(key, issued.privateKeyPem);
    return ['-alpn', 'clustor/1', '-cert', certificate, '-key', key];
  }

  test('receives the greeting with a good certificate, so that silence below means refusal', async () => {
    const hears = opensslHears(address, keyOptions(await certificates.node(2)));
    await waitUntil('the connection is accepted', () => accepted.length === 1);
    accepted[0]?.end();

    expect(await hears).toBe('secret greeting');
  });

  test('receives not one application byte without a certificate', async () => {
    const heard = await opensslHears(address, ['-alpn', 'clustor/1']);

    await expectRefusal(heard, 'CLUSTOR_UNAUTHENTICATED');
  });

  test('receives not one application byte with a certificate of an unknown authority', async () => {
    const issued = await certificates.node(2, { authority: certificates.foreignAuthority });

    await expectRefusal(await opensslHears(address, keyOptions(issued)), 'CLUSTOR_UNAUTHENTICATED');
  });

  test('receives not one application byte with an expired certificate', async () => {
    const options = keyOptions(await certificates.expired(2));

    await expectRefusal(await opensslHears(address, options), 'CLUSTOR_CERTIFICATE_EXPIRED');
  });

  test('receives not one application byte with a certificate of another cluster', async () => {
    const options = keyOptions(await certificates.node(2, { clusterId: elsewhere }));

    await expectRefusal(await opensslHears(address, options), 'CLUSTOR_WRONG_CLUSTER');
  });

  test('receives not one application byte without an application protocol', async () => {
    const options = keyOptions(await certificates.node(2)).slice(2);

    await expectRefusal(await opensslHears(address, options), 'CLUSTOR_UNAUTHENTICATED');
  });
});
