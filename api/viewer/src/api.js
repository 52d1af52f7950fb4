/** The OpenAPI document, to read and to try. */

import 'swagger-ui-dist/swagger-ui.css';
import SwaggerUIBundle from 'swagger-ui-dist/swagger-ui-bundle.js';

SwaggerUIBundle({ domNode: document.getElementById('api'), url: 'api', validatorUrl: null });
