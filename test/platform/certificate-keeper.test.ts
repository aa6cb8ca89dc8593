import { describe, expect, test } from 'vitest';

import { clusterId, nodeId } from '../../src/base/ids.ts';
import type { CertificateMaterial } from '../../src/platform/certificate-files.ts';
import {
  openCertificateKeeper,
  type CertificateLoadRequest,
} from '../../src/platform/certificate-keeper.ts';
import { RefusalLog } from '../../src/platform/refusal-log.ts';
import { HandClock } from '../runtime/hand-clock.ts';
import { EventList } from './tls-fixture.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

function material(name: string, notAfterMs: number, id = 1): CertificateMaterial {
  const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
  return {
    certificatePem: name,
    privateKeyPem: 'key',
    trustBundlePem: 'bundle',
    identity: {
      kind: 'node',
      clusterId: cluster,
      nodeId: nodeId(id),
      spiffeId: `spiffe://clustor/${cluster}/node/${id}`,
    },
    notBeforeMs: 0,
    notAfterMs,
  };
}

async function open(first: (nowMs: number) => CertificateMaterial) {
  const clock = new HandClock();
  const observer = new EventList();
  const requests: CertificateLoadRequest[] = [];
  const source = { next: first(clock.wallMs()), failure: undefined as Error | undefined };
  const keeper = await openCertificateKeeper({
    clock,
    observer,
    load(request) {
      requests.push(request);
      return source.failure === undefined
        ? Promise.resolve(source.next)
        : Promise.reject(source.failure);
    },
  });
  const renewed: string[] = [];
  const stop = keeper.onRenewed(({ certificatePem }) => renewed.push(certificatePem));
  return { clock, observer, requests, source, keeper, renewed, stop };
}

describe('the certificate keeper', () => {
  test('asks its source every minute and adopts what differs', async () => {
    const { clock, observer, requests, source, keeper, renewed } = await open((nowMs) =>
      material('first', nowMs + 24 * hourMs),
    );
    await clock.advance(10 * minuteMs);
    expect(requests).toHaveLength(11);
    expect(renewed).toEqual([]);
    expect(observer.events).toEqual([]);

    source.next = material('second', clock.wallMs() + 24 * hourMs);
    await clock.advance(minuteMs);
    expect(renewed).toEqual(['second']);
    expect(keeper.current.certificatePem).toBe('second');
    expect(observer.events.map(({ kind }) => kind)).toEqual(['certificateRenewed']);
  });

  test('calls a renewal due when half of the life at adoption has gone', async () => {
    const { clock, requests, observer } = await open((nowMs) =>
      material('first', nowMs + 2 * hourMs),
    );
    expect(requests[0]).toEqual({ current: undefined, renewalDue: true });
    await clock.advance(hourMs - 1);
    expect(requests.slice(1).some(({ renewalDue }) => renewalDue)).toBe(false);
    await clock.advance(1);
    expect(requests.at(-1)?.renewalDue).toBe(true);

    await clock.advance(25 * minuteMs);
    expect(observer.events.map(({ kind, level }) => `${level} ${kind}`)).toEqual([
      'warn certificateRenewalOverdue',
      'warn certificateRenewalOverdue',
      'warn certificateRenewalOverdue',
    ]);
  });

  test('keeps what it has while the source fails, and goes on asking', async () => {
    const { clock, observer, source, keeper, renewed } = await open((nowMs) =>
      material('first', nowMs + 10 * minuteMs),
    );
    source.failure = new Error('no such file');
    await clock.advance(3 * minuteMs);
    expect(keeper.current.certificatePem).toBe('first');
    expect(observer.events).toHaveLength(3);
    expect(observer.events[0]).toMatchObject({
      level: 'warn',
      kind: 'certificateRenewalFailed',
      fields: { reason: 'no such file' },
    });

    await clock.advance(8 * minuteMs);
    expect(observer.events.at(-1)?.level).toBe('error');
    expect(observer.events.length).toBeLessThanOrEqual(11);

    source.failure = undefined;
    source.next = material('second', clock.wallMs() + hourMs);
    await clock.advance(minuteMs);
    expect(renewed).toEqual(['second']);
  });

  test("does not adopt somebody else's certificate", async () => {
    const { clock, observer, source, keeper } = await open((nowMs) =>
      material('first', nowMs + hourMs),
    );
    source.next = material('stolen', clock.wallMs() + hourMs, 2);
    await clock.advance(minuteMs);

    expect(keeper.current.certificatePem).toBe('first');
    expect(observer.events.map(({ kind }) => kind)).toEqual(['certificateRenewalFailed']);
  });

  test('asks nothing and tells nobody once closed or unsubscribed', async () => {
    const { clock, requests, source, keeper, renewed, stop } = await open((nowMs) =>
      material('first', nowMs + hourMs),
    );
    stop();
    source.next = material('second', clock.wallMs() + hourMs);
    await clock.advance(minuteMs);
    expect(renewed).toEqual([]);
    expect(keeper.current.certificatePem).toBe('second');

    keeper.close();
    await clock.advance(hourMs);
    expect(requests).toHaveLength(2);
    expect(clock.timerCount).toBe(0);
  });

  test('fails to open when the first certificate cannot be loaded', async () => {
    const opening = openCertificateKeeper({
      clock: new HandClock(),
      observer: new EventList(),
      load: () => Promise.reject(new Error('no such file')),
    });

    await expect(opening).rejects.toThrow('no such file');
  });
});

describe('the refusal log', () => {
  test('emits ten events a second and counts the others', async () => {
    const [clock, observer] = [new HandClock(), new EventList()];
    const log = new RefusalLog(clock, observer);
    const refusal = { code: 'CLUSTOR_UNAUTHENTICATED', reason: 'x', remoteAddress: 'y' } as const;
    for (let count = 0; count < 14; count++) log.add(refusal);
    expect(observer.events).toHaveLength(10);
    await clock.advance(1_000);
    expect(observer.events.at(-1)).toMatchObject({
      kind: 'connectionsRefused',
      fields: { count: 4 },
    });

    log.add(refusal);
    await clock.advance(1_000);
    expect(observer.events).toHaveLength(12);
    expect(clock.timerCount).toBe(0);
  });

  test('tells at its close what it only counted', () => {
    const [clock, observer] = [new HandClock(), new EventList()];
    const log = new RefusalLog(clock, observer);
    for (let count = 0; count < 11; count++) {
      log.add({ code: 'CLUSTOR_OVERLOADED', reason: 'x', remoteAddress: 'y' });
    }
    log.close();

    expect(observer.events.at(-1)?.fields).toEqual({ count: 1 });
    expect(clock.timerCount).toBe(0);
  });
});
