/** A client of one node's admin service, over HTTP/2; apart from the entry point, whose declarations need no package of others. */
import { adminDeadlineMs, createAdminClient, type AdminClient } from '../admin/admin-client.ts';
import { openAdminTransport, type AdminTransportOptions } from '../platform/admin-transport.ts';

/** Makes a client of one node's admin service. */
export function openAdminClient(options: Omit<AdminTransportOptions, 'deadlineMs'>): AdminClient {
  return createAdminClient(openAdminTransport({ ...options, deadlineMs: adminDeadlineMs }));
}
