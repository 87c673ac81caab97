// In the page: two generations of the OpenTelemetry log exporter. The current one sends with fetch();
// 0.57 sends with navigator.sendBeacon(), and with XMLHttpRequest when it has headers of its own.
import { diag } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import * as oldResources from 'old-resources';
import * as oldSdk from 'old-sdk-logs';
import * as oldExporter from 'old-exporter-logs-otlp-http';

const complaints = [];
const keep = (message) => complaints.push(String(message));
diag.setLogger({ error: keep, warn: keep, info() {}, debug() {}, verbose() {} });

const NAME = { 'service.name': 'shop-page' };
const generations = {
  current: (config) => new LoggerProvider({
    resource: resourceFromAttributes(NAME),
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(config) })],
  }),
  old: (config) => {
    const provider = new oldSdk.LoggerProvider({ resource: new oldResources.Resource(NAME) });
    provider.addLogRecordProcessor(new oldSdk.BatchLogRecordProcessor(new oldExporter.OTLPLogExporter(config)));
    return provider;
  },
};

// `count` records by the exporter with `config`; the answer is what OpenTelemetry complained of.
globalThis.sendLogs = async (generation, config, count) => {
  complaints.length = 0;
  const provider = generations[generation](config);
  const logger = provider.getLogger('page');
  for (let i = 0; i < count; i++) logger.emit({ severityNumber: 9, severityText: 'INFO', body: `of the page, ${generation}, line ${i}`, attributes: { i } });
  try {
    await provider.forceFlush();
  } catch (error) {
    complaints.push(String(error?.message ?? error));
  }
  return [...complaints];
};
