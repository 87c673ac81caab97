// OTLP messages through protobufjs: an encoder and decoder that share nothing with the program.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

const protos = fileURLToPath(new URL('../../../proto/', import.meta.url));
const root = new protobuf.Root();
root.resolvePath = (_origin, target) => path.join(protos, path.basename(target));
root.loadSync(['logs_service.proto', 'status.proto', 'error_details.proto']);

const LogsRequest = root.lookupType('opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest');
const LogsResponse = root.lookupType('opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse');
const Status = root.lookupType('google.rpc.Status');
const details = {
  'google.rpc.RetryInfo': root.lookupType('google.rpc.RetryInfo'),
  'google.rpc.BadRequest': root.lookupType('google.rpc.BadRequest'),
};

const AS_TEXT = { longs: String, bytes: String, json: true };

export const encodeLogs = (request) => Buffer.from(LogsRequest.encode(LogsRequest.fromObject(request)).finish());
export const decodeLogs = (bytes) => LogsRequest.toObject(LogsRequest.decode(bytes), AS_TEXT);
export const decodeLogsResponse = (bytes) => LogsResponse.toObject(LogsResponse.decode(bytes), AS_TEXT);

// {code, message, retryAfterS, badRequest} of an encoded google.rpc.Status.
export function decodeStatus(bytes) {
  const raw = Status.decode(bytes);
  const status = { code: raw.code, message: raw.message };
  for (const any of raw.details) {
    const name = any.type_url ?? any.typeUrl;
    const type = details[name.replace(/^.*\//, '')];
    if (!type) continue;
    const value = type.toObject(type.decode(any.value), AS_TEXT);
    if (name.endsWith('RetryInfo')) status.retryAfterS = Number(value.retryDelay?.seconds ?? 0);
    else status.badRequest = value.fieldViolations;
  }
  return status;
}

// A request of OTLP/JSON into the form that decodeLogs() gives: integers as
// decimal strings, bytes as base64, absent where empty.
export function normalizeJson(request) {
  const ids = (record) => {
    const out = { ...record };
    for (const key of ['traceId', 'spanId'])
      if (typeof out[key] === 'string' && out[key] !== '') out[key] = Buffer.from(out[key], 'hex').toString('base64');
    return out;
  };
  return decodeLogs(
    LogsRequest.encode(
      LogsRequest.fromObject({
        resourceLogs: (request.resourceLogs ?? []).map((r) => ({
          ...r,
          scopeLogs: (r.scopeLogs ?? []).map((s) => ({ ...s, logRecords: (s.logRecords ?? []).map(ids) })),
        })),
      }),
    ).finish(),
  );
}

// A request split into one entry per record: {resource, scope, record, ...schema URLs}.
export function flatten(request) {
  const list = [];
  for (const r of request.resourceLogs ?? [])
    for (const s of r.scopeLogs ?? [])
      for (const record of s.logRecords ?? [])
        list.push({
          resource: r.resource,
          resourceSchema: r.schemaUrl,
          scope: s.scope,
          scopeSchema: s.schemaUrl,
          record,
        });
  return list;
}

export const attribute = (record, key) =>
  (record.attributes ?? []).filter((a) => a.key === key).map((a) => Object.values(a.value ?? {})[0])[0];

// A request of n INFO records of one service; fields of `base` go into each record.
export function request(n, { service = 'e2e', base = {}, body = (i) => `record ${i}`, resource = [] } = {}) {
  const now = BigInt(Date.now()) * 1000000n;
  return {
    resourceLogs: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }, ...resource] },
        scopeLogs: [
          {
            scope: { name: 'tests' },
            logRecords: Array.from({ length: n }, (_, i) => ({
              timeUnixNano: String(now + BigInt(i)),
              severityNumber: 9,
              severityText: 'INFO',
              body: { stringValue: body(i) },
              ...base,
            })),
          },
        ],
      },
    ],
  };
}

export const grpcFrame = (message, compressed = 0) => {
  const frame = Buffer.alloc(5 + message.length);
  frame[0] = compressed;
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
};
