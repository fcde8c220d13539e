declare module 'parse-prometheus-text-format' {
  interface Family {
    readonly name: string;
    readonly type: 'COUNTER' | 'GAUGE' | 'HISTOGRAM' | 'SUMMARY' | 'UNTYPED';
    readonly metrics: readonly unknown[];
  }
  export default function parse(text: string): Family[];
}
