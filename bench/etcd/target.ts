/**
 * A three-member etcd on this machine as a target of the load generators: own data folders, default settings
 * (so fsync before every answer), puts of 10,000 keys to its leader by raw gRPC over one HTTP/2 connection. With TLS,
 * client and peer ports demand certificates of both sides, as ours do.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { connect, type ClientHttp2Session, type SecureClientSessionOptions } from 'node:http2';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { makeCertificates, type Certificates } from '../setup/certificates.ts';
import { startProgram, stopChild } from '../setup/children.ts';
import type { RunningTarget } from '../load/generator.ts';
import { ensureEtcd } from './install.ts';
import { decodeStatus, encodeEmpty, encodePut } from './put-request.ts';

/** What an etcd is started with. */
export interface EtcdOptions {
  readonly directory: string;
  readonly valueBytes: number;
  readonly hasTls: boolean;
}

const memberCount = 3;
const keyCount = 10_000;
const electionMsMax = 20_000;
const pollMs = 100;
const windowBytes = 16 << 20;

interface Member {
  readonly child: ChildProcess;
  readonly origin: string;
}

/** Starts the members and connects to the one that leads. */
export async function startEtcd(options: EtcdOptions): Promise<RunningTarget> {
  mkdirSync(options.directory, { recursive: true });
  const certificates = options.hasTls
    ? makeCertificates(join(options.directory, 'certificates'))
    : undefined;
  const members = await startMembers(options.directory, certificates);
  try {
    const session = await findLeader(members, certificates);
    return makeTarget(options, members, session);
  } catch (error) {
    await Promise.all(members.map((member) => stopChild(member.child)));
    throw error;
  }
}

function makeTarget(
  options: EtcdOptions,
  members: readonly Member[],
  session: ClientHttp2Session,
): RunningTarget {
  const value = Buffer.alloc(options.valueBytes, 'abcdefghijklmnopqrstuvwxyz0123456789');
  const requests = Array.from({ length: keyCount }, (_, key) =>
    encodePut(`bench/${String(key)}`, value),
  );
  const headers = grpcHeaders('/etcdserverpb.KV/Put');
  let sentCount = 0;
  return {
    name: options.hasTls ? 'etcd with TLS' : 'etcd without TLS',
    serverPids: members.map((member) => member.child.pid ?? 0),
    send(slot, answered) {
      const stream = session.request(headers);
      let isOk = false;
      stream.on('trailers', (trailers) => {
        isOk = trailers['grpc-status'] === '0';
      });
      stream.on('error', ignoreError);
      stream.on('close', () => {
        answered(slot, isOk);
      });
      stream.resume();
      stream.end(requests[sentCount++ % keyCount]);
    },
    async stop() {
      session.destroy();
      await Promise.all(members.map((member) => stopChild(member.child)));
    },
  };
}

async function startMembers(
  directory: string,
  certificates: Certificates | undefined,
): Promise<Member[]> {
  const program = ensureEtcd();
  const scheme = certificates === undefined ? 'http' : 'https';
  const ports = await freePorts(2 * memberCount);
  const clientUrl = (member: number): string =>
    `${scheme}://127.0.0.1:${String(ports[2 * member] ?? 0)}`;
  const peerUrl = (member: number): string =>
    `${scheme}://127.0.0.1:${String(ports[2 * member + 1] ?? 0)}`;
  const numbers = Array.from({ length: memberCount }, (_, member) => member);
  const cluster = numbers.map((member) => `m${String(member)}=${peerUrl(member)}`).join(',');
  return numbers.map((member) => {
    const name = `m${String(member)}`;
    const words = [
      ...['--name', name, '--data-dir', join(directory, name)],
      ...['--listen-client-urls', clientUrl(member), '--advertise-client-urls', clientUrl(member)],
      ...['--listen-peer-urls', peerUrl(member), '--initial-advertise-peer-urls', peerUrl(member)],
      ...['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
      ...['--logger', 'zap', '--quota-backend-bytes', '8000000000'],
      ...(certificates === undefined ? [] : tlsWords(certificates)),
    ];
    const logPath = join(directory, `${name}.log`);
    return { child: startProgram(program, words, { logPath }), origin: clientUrl(member) };
  });
}

function tlsWords({ authorityPath, server }: Certificates): string[] {
  const { certificatePath, keyPath } = server;
  return [
    ...['--cert-file', certificatePath, '--key-file', keyPath, '--trusted-ca-file', authorityPath],
    ...['--peer-cert-file', certificatePath, '--peer-key-file', keyPath],
    ...['--peer-trusted-ca-file', authorityPath, '--client-cert-auth', '--peer-client-cert-auth'],
  ];
}

async function findLeader(
  members: readonly Member[],
  certificates: Certificates | undefined,
): Promise<ClientHttp2Session> {
  const endMs = performance.now() + electionMsMax;
  while (performance.now() < endMs) {
    for (const member of members) {
      if (member.child.exitCode !== null) throw new Error('an etcd member ended; see its log');
      const session = await openSession(member.origin, certificates);
      if (session === undefined) continue;
      if (await leads(session)) return session;
      session.destroy();
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  throw new Error('etcd elected no leader');
}

function openSession(
  origin: string,
  certificates: Certificates | undefined,
): Promise<ClientHttp2Session | undefined> {
  const identity: SecureClientSessionOptions =
    certificates === undefined
      ? {}
      : {
          ca: certificates.client.ca,
          cert: certificates.client.cert,
          key: certificates.client.key,
        };
  return new Promise((resolve) => {
    const session = connect(origin, { ...identity, settings: { initialWindowSize: windowBytes } });
    session.on('error', () => {
      resolve(undefined);
    });
    session.once('connect', () => {
      session.setLocalWindowSize(windowBytes);
      resolve(session);
    });
  });
}

function leads(session: ClientHttp2Session): Promise<boolean> {
  return new Promise((resolve) => {
    const stream = session.request(grpcHeaders('/etcdserverpb.Maintenance/Status'));
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', ignoreError);
    stream.on('close', () => {
      const answer = Buffer.concat(chunks);
      if (answer.length === 0) {
        resolve(false);
        return;
      }
      const { memberId, leaderId } = decodeStatus(answer);
      resolve(leaderId !== 0n && leaderId === memberId);
    });
    stream.end(encodeEmpty());
  });
}

function grpcHeaders(path: string): Record<string, string> {
  return { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
}

/** Ports that nobody listens on now; they stay free for the moment it takes to start the members. */
async function freePorts(count: number): Promise<number[]> {
  const listeners = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const listener = createServer();
          listener.listen(0, '127.0.0.1', () => {
            resolve(listener);
          });
        }),
    ),
  );
  const ports = listeners.map((listener) => (listener.address() as AddressInfo).port);
  await Promise.all(listeners.map((listener) => new Promise((resolve) => listener.close(resolve))));
  return ports;
}

/** A failed stream also closes, and closing is where its outcome is taken. */
function ignoreError(): void {
  return undefined;
}
