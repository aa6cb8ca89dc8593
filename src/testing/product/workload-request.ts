/** Asks a workload for a request, and looks at what it gives: clients refuse what cannot be sent, which must not look like their failure. */
import { defaultClientLimits } from '../../client/client-options.ts';
import { describeReturned, describeThrown } from './findings.ts';
import type { Workload, WorkloadRequest, WorkloadTurn } from './workload.ts';

/** The next request of a client, or what is wrong with it. */
export function drawRequest(workload: Workload, turn: WorkloadTurn): WorkloadRequest | string {
  let request: unknown;
  try {
    request = workload.next(turn);
  } catch (error) {
    return `next threw: ${describeThrown(error)}`;
  }
  if (typeof request !== 'object' || request === null || request instanceof Promise)
    return `next returned ${describeReturned(request)}, no request`;
  const verb = 'append' in request ? 'append' : 'query';
  const bytes = (request as Partial<Record<typeof verb, unknown>>)[verb];
  if (!(bytes instanceof Uint8Array))
    return `next returned a request whose append or query is ${describeReturned(bytes)}, not bytes`;
  const { entryBytesMax } = defaultClientLimits;
  return bytes.length <= entryBytesMax
    ? (request as WorkloadRequest)
    : `next returned a request (${verb}) of ${bytes.length} bytes; one has ${entryBytesMax} at most`;
}
