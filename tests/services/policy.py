"""A policy for brokers, as companies have: topics may not say how long they keep records.

The class file is this source, compiled by `javac --release 11 -g:none`, since the Java runtime of
the tests has no compiler:

    import java.util.Map;
    import org.apache.kafka.common.errors.PolicyViolationException;
    import org.apache.kafka.server.policy.CreateTopicPolicy;

    public class NoRetention implements CreateTopicPolicy {
        public void configure(Map<String, ?> configs) {}
        public void close() {}
        public void validate(RequestMetadata request) {
            if (request.configs().containsKey("retention.ms"))
                throw new PolicyViolationException("retention.ms belongs to the platform team");
        }
    }
"""

import base64
from pathlib import Path

NAME = "NoRetention"
WORDS = "retention.ms belongs to the platform team"

_CLASS = (
    "yv66vgAAADcAKwoAAgADBwAEDAAFAAYBABBqYXZhL2xhbmcvT2JqZWN0AQAGPGluaXQ+AQADKClWCgAIAAkHAAoM"
    "AAsADAEAQG9yZy9hcGFjaGUva2Fma2Evc2VydmVyL3BvbGljeS9DcmVhdGVUb3BpY1BvbGljeSRSZXF1ZXN0TWV0"
    "YWRhdGEBAAdjb25maWdzAQARKClMamF2YS91dGlsL01hcDsIAA4BAAxyZXRlbnRpb24ubXMLABAAEQcAEgwAEwAU"
    "AQANamF2YS91dGlsL01hcAEAC2NvbnRhaW5zS2V5AQAVKExqYXZhL2xhbmcvT2JqZWN0OylaBwAWAQA3b3JnL2Fw"
    "YWNoZS9rYWZrYS9jb21tb24vZXJyb3JzL1BvbGljeVZpb2xhdGlvbkV4Y2VwdGlvbggAGAEAKXJldGVudGlvbi5t"
    "cyBiZWxvbmdzIHRvIHRoZSBwbGF0Zm9ybSB0ZWFtCgAVABoMAAUAGwEAFShMamF2YS9sYW5nL1N0cmluZzspVgcA"
    "HQEAC05vUmV0ZW50aW9uBwAfAQAwb3JnL2FwYWNoZS9rYWZrYS9zZXJ2ZXIvcG9saWN5L0NyZWF0ZVRvcGljUG9s"
    "aWN5AQAEQ29kZQEACWNvbmZpZ3VyZQEAEihMamF2YS91dGlsL01hcDspVgEACVNpZ25hdHVyZQEAJyhMamF2YS91"
    "dGlsL01hcDxMamF2YS9sYW5nL1N0cmluZzsqPjspVgEABWNsb3NlAQAIdmFsaWRhdGUBAEUoTG9yZy9hcGFjaGUv"
    "a2Fma2Evc2VydmVyL3BvbGljeS9DcmVhdGVUb3BpY1BvbGljeSRSZXF1ZXN0TWV0YWRhdGE7KVYBAA1TdGFja01h"
    "cFRhYmxlAQAMSW5uZXJDbGFzc2VzAQAPUmVxdWVzdE1ldGFkYXRhACEAHAACAAEAHgAAAAQAAQAFAAYAAQAgAAAA"
    "EQABAAEAAAAFKrcAAbEAAAAAAAEAIQAiAAIAIAAAAA0AAAACAAAAAbEAAAAAACMAAAACACQAAQAlAAYAAQAgAAAA"
    "DQAAAAEAAAABsQAAAAAAAQAmACcAAQAgAAAALgADAAIAAAAZK7YABxINuQAPAgCZAA27ABVZEhe3ABm/sQAAAAEA"
    "KAAAAAMAARgAAQApAAAACgABAAgAHgAqAAk="
)


def write(folder: Path) -> None:
    """Put the class where a broker's class path finds it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}.class").write_bytes(base64.b64decode(_CLASS))
