import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import { connect, type TLSSocket } from 'node:tls';

import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { AdminService } from '../../src/admin/generated/clustor/admin/v1/admin_pb.ts';
import type { CertificateMaterial } from '../../src/platform/certificate-files.ts';
import { strangerHears } from '../platform/tls-fixture.ts';
import { AdminWorld, machineThat, partition, type RunningNode } from './admin-fixture.ts';

const service = '/clustor.admin.v1.AdminService';

let world: AdminWorld;
let running: RunningNode;
/** Waits for nothing longer than 400 ms. */
let impatient: RunningNode;
let material: CertificateMaterial;

beforeAll(async () => {
  world = await AdminWorld.create();
  running = await world.start();
  impatient = await world.start({ limits: { idleMsMax: 400, requestMsMax: 400 } });
  material = await world.materialOf('observer');
});

afterAll(async () => {
  await world.close();
});

function tlsOptions(): {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly checkServerIdentity: () => undefined;
} {
  return {
    cert: material.certificatePem,
    key: material.privateKeyPem,
    ca: material.trustBundlePem,
    checkServerIdentity: () => undefined,
  };
}

async function open11(
  at: RunningNode,
): Promise<{ readonly socket: TLSSocket; readonly heard: Promise<string> }> {
  const socket = connect({ ...at.address, ...tlsOptions(), ALPNProtocols: ['http/1.1'] });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  const heard = new Promise<string>((resolve) => {
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()));
  });
  await new Promise<void>((resolve) => socket.once('secureConnect', () => resolve()));
  return { socket, heard };
}

/** Sends text over HTTP/1.1 and gives everything that came until the connection ended. */
async function say11(text: string): Promise<string> {
  const { socket, heard } = await open11(running);
  socket.write(text);
  return heard;
}

function openHttp2(at: RunningNode = running): ClientHttp2Session {
  const { host, port } = at.address;
  const session = connectHttp2(`https://${host}:${port}`, tlsOptions());
  session.on('error', () => {});
  world.opened.onClose(() => session.destroy());
  return session;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

function ask(session: ClientHttp2Session, path: string, body: string | Buffer): Promise<Answer> {
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    'content-type': 'application/json',
  });
  return new Promise((resolve, reject) => {
    let status: number | undefined;
    let headers: Readonly<Record<string, unknown>> = {};
    const chunks: Buffer[] = [];
    stream.on('response', (all) => {
      status = all[':status'];
      headers = all;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('close', () => resolve({ status, headers, body: Buffer.concat(chunks).toString() }));
    stream.end(body);
  });
}

async function stillAnswers(at: RunningNode = running): Promise<void> {
  const session = openHttp2(at);
  const { status } = await ask(session, `${service}/GetStatus`, '{}');
  session.close();
  expect(status).toBe(200);
}

describe('the admin service on the TLS port', () => {
  test('answers JSON over HTTP/1.1 with wide numbers as decimal strings', async () => {
    const heard = await say11(
      `POST ${service}/GetStatus HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}`,
    );

    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
    expect(heard).toContain('"nodeId":"1"');
    expect(heard).toContain(`"partitionId":"${partition}"`);
  });

  test('answers JSON over HTTP/2', async () => {
    const session = openHttp2();
    const { status, body } = await ask(session, `${service}/ListPartitions`, '{}');
    session.close();

    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ partitions: [{ partitionId: partition }] });
  });

  test('answers gRPC and gRPC-Web', async () => {
    const { host, port } = running.address;
    const baseUrl = `https://${host}:${port}`;
    for (const createTransport of [createGrpcTransport, createGrpcWebTransport]) {
      const transport = createTransport({ baseUrl, httpVersion: '2', nodeOptions: tlsOptions() });
      const { nodeId } = await createClient(AdminService, transport).getStatus({});

      expect(nodeId).toBe(1n);
    }
  });

  test('answers an unknown path with 404 and JSON', async () => {
    const session = openHttp2();
    const { status, headers, body } = await ask(session, '/metrics-of-tomorrow', '{}');
    session.close();

    expect(status).toBe(404);
    expect(headers['content-type']).toBe('application/json');
    expect(JSON.parse(body)).toHaveProperty('error');
  });

  test('puts the code of an error into the header clustor-code', async () => {
    const session = openHttp2();
    const { status, headers } = await ask(
      session,
      `${service}/Why`,
      JSON.stringify({ partitionId: partition, kind: 'tired' }),
    );
    session.close();

    expect(status).toBe(400);
    expect(headers['clustor-code']).toBe('CLUSTOR_INVALID_ARGUMENT');
  });

  test('refuses a body above 4 MiB', async () => {
    const session = openHttp2();
    const body = Buffer.alloc(4 * 1024 * 1024 + 1, 0x20);
    const { status, headers } = await ask(session, `${service}/GetStatus`, body);
    session.close();

    expect(status).toBe(429);
    expect(headers['content-type']).toBe('application/json');
  });

  test('survives a Host header that is no host, and a request without one', async () => {
    const head = `POST ${service}/GetStatus`;
    const body = 'content-type: application/json\r\ncontent-length: 2\r\n\r\n{}';

    expect(await say11(`${head} HTTP/1.1\r\nhost: [\r\nconnection: close\r\n${body}`)).toMatch(
      /^HTTP\/1\.1 400 /,
    );
    expect(await say11(`${head} HTTP/1.0\r\n${body}`)).toMatch(/^HTTP\/1\.1 400 /);
    await stillAnswers();
  });

  test('closes an HTTP/1.1 connection that sends its headers byte by byte', async () => {
    const { socket, heard } = await open11(impatient);
    socket.write(`POST ${service}/GetStatus HTTP/1.1\r\nhost: node\r\nx-slow: `);
    const drip = setInterval(() => socket.write('a'), 50);
    await heard;
    clearInterval(drip);

    await stillAnswers(impatient);
  });

  test('ends a request whose body never comes', async () => {
    const { socket, heard } = await open11(impatient);
    socket.write(
      `POST ${service}/GetStatus HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n`,
    );
    const drip = setInterval(() => socket.write(' '), 50);
    await heard;
    clearInterval(drip);

    const session = openHttp2(impatient);
    const stream = session.request({
      ':method': 'POST',
      ':path': `${service}/GetStatus`,
      'content-type': 'application/json',
    });
    stream.on('error', () => {});
    stream.write(' ');
    await new Promise<void>((resolve) => stream.once('close', () => resolve()));
    await stillAnswers(impatient);
  });

  test.each([
    { patientMsMax: 10_000, isAnswered: true },
    { patientMsMax: 600, isAnswered: false },
  ])(
    'waits for an answer as long as the caller says, up to $patientMsMax ms',
    async ({ patientMsMax, isAnswered }) => {
      const machine = {
        ...machineThat(),
        async *snapshot() {
          await new Promise((wake) => setTimeout(wake, 1_200));
          yield Uint8Array.of(1);
        },
      };
      const limits = { idleMsMax: 400, requestMsMax: 400, patientMsMax };
      const { node, address } = await world.start({ machine, limits });
      await node.partition(partition).append(Uint8Array.of(1));
      const operator = await world.client(address, {
        material: await world.materialOf('operator'),
      });

      const taking = operator.takeSnapshot({ partitionId: partition, deadlineMs: 5_000 });

      const outcome = await taking.then(
        () => true,
        () => false,
      );
      expect(outcome).toBe(isAnswered);
    },
  );

  test('closes a connection on which nothing is asked', async () => {
    const session = openHttp2(impatient);

    await new Promise<void>((resolve) => session.once('close', () => resolve()));
  });

  test('takes 64 requests at once from a connection and says so', async () => {
    const session = openHttp2();
    await new Promise<void>((resolve) => session.once('remoteSettings', () => resolve()));
    const most = session.remoteSettings.maxConcurrentStreams;
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => ask(session, `${service}/GetStatus`, '{}')),
    );
    session.close();

    expect(most).toBe(64);
    expect(answers.every(({ status }) => status === 200)).toBe(true);
  });

  test('says nothing to a stranger without a certificate', async () => {
    for (const protocol of ['h2', 'http/1.1']) {
      expect(await strangerHears(running.address, { ALPNProtocols: [protocol] })).toBe('');
    }
  });
});

test('closing ends open connections, and later ones at once', async () => {
  const other = await world.start();
  const held = connect({ ...other.address, ...tlsOptions(), ALPNProtocols: ['http/1.1'] });
  held.on('error', () => {});
  await new Promise<void>((resolve) => held.once('secureConnect', () => resolve()));
  const ended = new Promise<void>((resolve) => held.once('close', () => resolve()));
  await new Promise((resolve) => setTimeout(resolve, 50));

  await other.http.close();
  await ended;

  const late = connect({ ...other.address, ...tlsOptions(), ALPNProtocols: ['http/1.1'] });
  late.on('error', () => {});
  late.resume();
  await new Promise<void>((resolve) => late.once('close', () => resolve()));
});
